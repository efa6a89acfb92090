//! `trailhose init`: writes the trails of an account to settings that `trailhose sync` reads.

mod bed;
mod laptop;

use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
use bed::emulator::Emulator;
use bed::faults::{Fault, Faults};
use bed::http::{Message, root_authorization};
use laptop::{Ran, assert_delivered, events, gzip, key, log, trailhose_at};
use std::path::Path;

const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/11111111-2222-3333-4444-555555555555";

struct Account {
    emulator: Emulator,
    s3: aws_sdk_s3::Client,
}

impl Account {
    /// Creates an organization trail and a single-region trail in us-east-1, and a multi-region trail and a single-region
    /// trail in eu-west-1.
    async fn new() -> Self {
        let emulator = Emulator::moto();
        let s3 = aws_sdk_s3::Client::from_conf(
            aws_sdk_s3::config::Builder::from(&emulator.config()).force_path_style(true).build(),
        );
        let account = Self { emulator, s3 };
        for bucket in ["org-logs", "all-logs", "plain-logs", "far-logs"] {
            account.s3.create_bucket().bucket(bucket).send().await.unwrap();
            // For a bucket without notifications, moto's response has another root element than S3's.
            account.notify(bucket, "removals", Event::S3ObjectRemoved).await;
        }
        account.put("org-logs", "AWSLogs/o-exampleorgid/").await;
        let topic = account.topic("announcements").await;
        let here = account.cloudtrail("us-east-1");
        let trail = here.create_trail().name("org").s3_bucket_name("org-logs");
        let trail = trail.is_organization_trail(true).is_multi_region_trail(true).kms_key_id(KEY);
        trail.send().await.unwrap();
        let trail = here.create_trail().name("plain").s3_bucket_name("plain-logs").sns_topic_name(topic);
        trail.send().await.unwrap();
        let there = account.cloudtrail("eu-west-1");
        let trail = there.create_trail().name("all").s3_bucket_name("all-logs").s3_key_prefix("trails/all");
        trail.is_multi_region_trail(true).send().await.unwrap();
        there.create_trail().name("far").s3_bucket_name("far-logs").send().await.unwrap();
        account
    }

    fn cloudtrail(&self, region: &'static str) -> aws_sdk_cloudtrail::Client {
        let config = self.emulator.config().into_builder().region(aws_config::Region::new(region)).build();
        aws_sdk_cloudtrail::Client::new(&config)
    }

    async fn topic(&self, name: &str) -> String {
        // SNS has no client here; the query protocol does not need one.
        let body = format!("Action=CreateTopic&Version=2010-03-31&Name={name}").into_bytes();
        let endpoint = self.emulator.endpoint();
        let address = endpoint.trim_start_matches("http://");
        let headers = [
            ("Host", address.to_owned()),
            ("Authorization", root_authorization("sns")),
            ("Content-Type", "application/x-www-form-urlencoded".to_owned()),
            ("Content-Length", body.len().to_string()),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        let request = Message { first: "POST / HTTP/1.1".to_owned(), headers, body };
        assert_eq!(request.exchange(address).await.unwrap().status(), 200);
        name.to_owned()
    }

    /// Configures a bucket to notify a queue.
    async fn notify(&self, bucket: &str, id: &str, event: Event) {
        let arn = format!("arn:aws:sqs:us-east-1:123456789012:{id}");
        let queue = QueueConfiguration::builder().id(id).queue_arn(arn).events(event).build().unwrap();
        let config = NotificationConfiguration::builder().queue_configurations(queue).build();
        let put = self.s3.put_bucket_notification_configuration().bucket(bucket).notification_configuration(config);
        put.skip_destination_validation(true).send().await.unwrap();
    }

    /// Puts a log below this prefix.
    async fn put(&self, bucket: &str, above: &str) -> String {
        let whole = key("111122223333", "CloudTrail", "us-east-1", "2026-11-01", "a");
        let key = format!("{above}{}", whole.strip_prefix("AWSLogs/").unwrap());
        let body = gzip(&log(&events(0..3)));
        self.s3.put_object().bucket(bucket).key(&key).body(body.into()).send().await.unwrap();
        key
    }

    fn run(&self, folder: &Path, args: &[&str]) -> Ran {
        run_at(&self.emulator.endpoint(), folder, args)
    }
}

fn run_at(endpoint: &str, folder: &Path, args: &[&str]) -> Ran {
    Ran(trailhose_at(endpoint).current_dir(folder).args(args).output().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn trails_of_three_kinds_become_sources_that_sync_reads() {
    let account = Account::new().await;
    let folder = tempfile::tempdir().unwrap();
    let ran = account.run(folder.path(), &["init"]);
    assert_eq!((ran.code(), ran.err().as_str()), (0, ""));
    let (written, said) = (std::fs::read_to_string(folder.path().join("trailhose.toml")).unwrap(), ran.out());
    for part in [
        "# organization trail org, home us-east-1\n[[source]]\nbucket = \"org-logs\"\norganization = \"o-exampleorgid\"\n",
        &format!("kms_key = \"{KEY}\""),
        // A shadow trail in another region is the same trail.
        "# multi-region trail all, home eu-west-1 (shadow trail in us-east-1)\n[[source]]\nbucket = \"all-logs\"\n\
         prefix = \"trails/all\"\n",
        "# single-region trail plain, home us-east-1\n[[source]]\nbucket = \"plain-logs\"\nsns_topic = \"arn:aws:sns:",
    ] {
        assert!(written.contains(part), "{part}\nin\n{written}");
    }
    assert_eq!(
        written.matches("[[source]]").count(),
        3,
        "single-region trails are visible only in their home region:\n{written}"
    );
    assert!(said.contains("LogBucketName=org-logs WireBucket=true"), "{said}");
    assert!(said.contains(&format!("LogBucketKeyArn={KEY}")), "{said}");
    assert!(said.contains("Wiring=SNS SnsTopicArn=arn:aws:sns:"), "{said}");

    let again = account.run(folder.path(), &["init"]);
    assert_eq!((again.code(), again.err().lines().count()), (2, 1), "{again:?}");
    assert!(again.err().contains("trailhose.toml already exists: use --force"), "{again:?}");

    // Two of the three buckets contain no logs yet.
    let synced = account.run(folder.path(), &["sync", "--json", "--allow-empty"]);
    assert_eq!((synced.code(), &synced.json()["objects"]), (0, &1.into()), "{synced:?}");
    assert_delivered(&folder.path().join("events"), &events(0..3));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_region_adds_its_trails_once() {
    let account = Account::new().await;
    let folder = tempfile::tempdir().unwrap();
    let args = ["init", "--region", "eu-west-1", "--region", "us-east-1", "--print"];
    let ran = account.run(folder.path(), &args);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert_eq!(ran.out().matches("[[source]]").count(), 4, "{}", ran.out());
    assert_eq!(ran.out().matches("trail/all\"").count(), 1, "{}", ran.out());
    assert!(ran.err().contains("far-logs"), "{ran:?}");
    assert!(!folder.path().join("trailhose.toml").exists());
    std::fs::write(folder.path().join("trailhose.toml"), "old").unwrap();
    let forced = account.run(folder.path(), &["init", "--region", "eu-west-1", "--force", "--json"]);
    let said = forced.json();
    assert_eq!((forced.code(), said["sources"].as_array().unwrap().len()), (0, 3), "{said}");
    assert!(std::fs::read_to_string(folder.path().join("trailhose.toml")).unwrap().contains("far-logs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_notifications_are_reported() {
    let account = Account::new().await;
    let folder = tempfile::tempdir().unwrap();
    account.notify("org-logs", "trailhose", Event::S3ObjectCreated).await;
    account.notify("all-logs", "other", Event::S3ObjectCreated).await;
    let said = account.run(folder.path(), &["init", "--print"]).err();
    assert!(said.contains("notifies arn:aws:sqs:us-east-1:123456789012:trailhose: nothing to do"), "{said}");
    assert!(said.contains("go to arn:aws:sqs:us-east-1:123456789012:other\n    to do: sam deploy --parameter-overrides LogBucketName=all-logs"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_permission_is_named_and_no_file_is_written() {
    let account = Account::new().await;
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::before(&account.emulator);
    faults.on("DescribeTrails", 1..2, Fault::Deny);
    let args = ["init", "--region", "us-east-1", "--region", "eu-west-1"];
    let ran = run_at(&faults.endpoint(), folder.path(), &args);
    assert_eq!((ran.code(), ran.err().lines().count(), ran.out().as_str()), (2, 1, ""), "{ran:?}");
    assert!(ran.err().contains("eu-west-1: allow cloudtrail:DescribeTrails"), "{ran:?}");
    assert!(!folder.path().join("trailhose.toml").exists());

    faults.when(|call| call.path.contains("notification").then_some(Fault::Deny));
    let ran = run_at(&faults.endpoint(), folder.path(), &["init"]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(ran.out().contains("to do: allow s3:GetBucketNotification on org-logs"), "{}", ran.out());

    let nowhere = run_at(&account.emulator.endpoint(), folder.path(), &["init", "--force", "--region", "ap-south-1"]);
    assert_eq!(nowhere.code(), 0, "multi-region and organization trails are visible in every region: {nowhere:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn account_without_trails_is_reported() {
    let (emulator, folder) = (Emulator::moto(), tempfile::tempdir().unwrap());
    let ran = run_at(&emulator.endpoint(), folder.path(), &["init"]);
    assert_eq!((ran.code(), ran.err().lines().count()), (2, 1), "{ran:?}");
    assert!(ran.err().contains("no trails found in us-east-1"), "{ran:?}");
}
