//! How the bucket of a source is accessed: roles, profiles, endpoints, requester pays. A stub server replaces STS and
//! S3, because no emulator shows which credentials and headers a request has.

mod common;
mod laptop;

use common::stub::{Reply, Request, Stub};
use laptop::{Ran, text, trailhose};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

const ROLE: &str = "arn:aws:iam::444455556666:role/log-reader";

/// What the stub received: method, path, headers, body.
type Received = Arc<Mutex<Vec<(String, Vec<(String, String)>, String)>>>;

fn stub(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> (Stub, Received) {
    let received = Received::default();
    let log = Arc::clone(&received);
    let stub = Stub::start(move |request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let line = format!("{} {}", request.method, request.path);
        log.lock().unwrap().push((line, request.headers.clone(), body));
        reply(request)
    });
    (stub, received)
}

fn listing() -> Reply {
    let body =
        "<ListBucketResult><Name>logs</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";
    Reply::Answer(200, Vec::new(), body.into())
}

fn assumed() -> Reply {
    let body = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
        <AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey><SessionToken>role-token</SessionToken>\
        <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials><AssumedRoleUser><Arn>arn:aws:sts::444455556666:assumed-role/log-reader/audit</Arn><AssumedRoleId>i</AssumedRoleId>\
        </AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>";
    Reply::Answer(200, Vec::new(), body.into())
}

/// Answers as STS and as S3.
fn service(request: &Request) -> Reply {
    if String::from_utf8_lossy(&request.body).contains("Action=AssumeRole") { assumed() } else { listing() }
}

fn program(home: &Path, endpoint: &str) -> Command {
    let mut command = trailhose();
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env_remove("AWS_PROFILE").env("HOME", home).env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_ACCESS_KEY_ID", "AKIABASE").env("AWS_SECRET_ACCESS_KEY", "secret").env("AWS_REGION", "us-east-1");
    command.env("AWS_ENDPOINT_URL", endpoint);
    command
}

fn sync(mut command: Command, home: &Path, args: &[&str]) -> Ran {
    let out = home.join("out");
    command.args(["sync", "s3://logs", text(&out), "--allow-empty"]).args(args);
    Ran(command.output().unwrap())
}

/// Returns the access key in the signature of a request.
fn access_key(headers: &[(String, String)]) -> String {
    let signature = headers.iter().find(|(name, _)| name == "authorization").expect("a signature").1.clone();
    signature.split_once("Credential=").unwrap().1.split('/').next().unwrap().to_owned()
}

#[test]
fn role_reads_the_bucket_with_its_external_id_and_session_name() {
    let home = tempfile::tempdir().unwrap();
    let (stub, received) = stub(service);
    let args = ["--role-arn", ROLE, "--external-id", "x-1", "--role-session-name", "audit"];
    let ran = sync(program(home.path(), &stub.endpoint()), home.path(), &args);
    assert_eq!(ran.code(), 0, "{ran:?}");
    let received = received.lock().unwrap();
    let assume: Vec<_> = received.iter().filter(|(_, _, body)| body.contains("AssumeRole")).collect();
    assert!(!assume.is_empty());
    for (_, headers, body) in &assume {
        assert_eq!(access_key(headers), "AKIABASE");
        for part in
            ["RoleArn=arn%3Aaws%3Aiam%3A%3A444455556666%3Arole%2Flog-reader", "ExternalId=x-1", "RoleSessionName=audit"]
        {
            assert!(body.contains(part), "{part} in {body}");
        }
    }
    let listings: Vec<_> = received.iter().filter(|(line, _, _)| line.contains("list-type=2")).collect();
    assert!(!listings.is_empty());
    for (_, headers, _) in listings {
        assert_eq!(access_key(headers), "ASIAROLE");
        assert!(headers.contains(&("x-amz-security-token".into(), "role-token".into())));
        assert!(!headers.iter().any(|(name, _)| name == "x-amz-request-payer"));
    }
}

#[test]
fn role_that_cannot_be_assumed_is_named_with_the_reason() {
    let home = tempfile::tempdir().unwrap();
    let (stub, _) = stub(|request| match String::from_utf8_lossy(&request.body).contains("Action=AssumeRole") {
        true => {
            let body = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User is not authorized to \
                perform: sts:AssumeRole</Message></Error><RequestId>r</RequestId></ErrorResponse>";
            Reply::Answer(403, Vec::new(), body.into())
        }
        false => listing(),
    });
    let ran = sync(program(home.path(), &stub.endpoint()), home.path(), &["--role-arn", ROLE]);
    assert_eq!((ran.code(), ran.err().lines().count()), (2, 1), "{ran:?}");
    for part in [ROLE, "not authorized to perform: sts:AssumeRole", "trust policy"] {
        assert!(ran.err().contains(part), "{part} in {}", ran.err());
    }
}

#[test]
fn each_source_has_its_own_access() {
    let home = tempfile::tempdir().unwrap();
    let (own, own_received) = stub(service);
    let (other, other_received) = stub(service);
    std::fs::create_dir_all(home.path().join(".aws")).unwrap();
    let profile = "[profile archive]\naws_access_key_id = AKIAARCHIVE\naws_secret_access_key = s\nregion = eu-west-1\n";
    std::fs::write(home.path().join(".aws/config"), profile).unwrap();
    let settings = format!(
        "dest = \"out\"\n[[source]]\nbucket = \"first\"\nallow_empty = true\n\n[[source]]\nbucket = \"second\"\n\
         allow_empty = true\nprofile = \"archive\"\nrequester_pays = true\nbucket_region = \"eu-south-1\"\n\
         endpoint_url = \"{}\"\n",
        other.endpoint()
    );
    std::fs::write(home.path().join("trailhose.toml"), settings).unwrap();
    let mut command = program(home.path(), &own.endpoint());
    // A profile applies only if no key is in the environment.
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let default = "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = s\n";
    std::fs::write(home.path().join(".aws/credentials"), default).unwrap();
    let ran = Ran(command.arg("sync").current_dir(home.path()).output().unwrap());
    assert_eq!(ran.code(), 0, "{ran:?}");
    let keys = |received: &Received| {
        let received = received.lock().unwrap();
        let mut keys: Vec<_> = received.iter().map(|(_, headers, _)| access_key(headers)).collect();
        keys.dedup();
        keys
    };
    assert_eq!(keys(&own_received), ["AKIADEFAULT"]);
    assert_eq!(keys(&other_received), ["AKIAARCHIVE"]);
    for (line, headers, _) in other_received.lock().unwrap().iter() {
        assert!(line.contains("/second"), "{line}");
        assert!(headers.contains(&("x-amz-request-payer".into(), "requester".into())), "{headers:?}");
        let signature = &headers.iter().find(|(name, _)| name == "authorization").unwrap().1;
        assert!(signature.contains("/eu-south-1/s3/"), "{signature}");
    }
}

#[test]
fn profile_option_replaces_the_environment() {
    let home = tempfile::tempdir().unwrap();
    let (stub, received) = stub(service);
    std::fs::create_dir_all(home.path().join(".aws")).unwrap();
    let profiles = "[archive]\naws_access_key_id = AKIAARCHIVE\naws_secret_access_key = s\n";
    std::fs::write(home.path().join(".aws/credentials"), profiles).unwrap();
    let command = || {
        let mut command = program(home.path(), &stub.endpoint());
        command
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env("AWS_PROFILE", "no-such-profile");
        command
    };
    let ran = sync(command(), home.path(), &["--profile", "archive"]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert_eq!(access_key(&received.lock().unwrap()[0].1), "AKIAARCHIVE");
    let ran = sync(command(), home.path(), &["--profile", "achive"]);
    assert_eq!(ran.code(), 2, "{ran:?}");
    assert!(
        ran.err().contains("the AWS profile \"achive\" does not exist") && ran.err().contains("archive"),
        "{}",
        ran.err()
    );
}

#[test]
fn invalid_access_is_refused_before_anything_starts() {
    let home = tempfile::tempdir().unwrap();
    for (args, message) in [
        (vec!["--role-arn", "log-reader"], "invalid role"),
        (vec!["--external-id", "x"], "--role-arn"),
        (vec!["--endpoint-url", "localhost:9000"], "invalid endpoint"),
    ] {
        let ran = sync(program(home.path(), "http://127.0.0.1:1"), home.path(), &args);
        assert!(ran.code() == 2 && ran.err().contains(message), "{args:?}: {ran:?}");
    }
    let settings = "dest = \"out\"\n[[source]]\nbucket = \"b\"\nexternal_id = \"x\"\n";
    std::fs::write(home.path().join("trailhose.toml"), settings).unwrap();
    let ran = Ran(program(home.path(), "http://127.0.0.1:1").arg("sync").current_dir(home.path()).output().unwrap());
    assert!(ran.code() == 2 && ran.err().contains("trailhose.toml:4: external_id"), "{ran:?}");
}
