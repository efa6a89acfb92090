//! What the program says if AWS cannot be used: one line with the next step, within seconds, and nothing is started.
//!
//! A stub server is the service, because no emulator rejects credentials.

mod common;
mod laptop;

use common::stub::{Reply, Request, Stub};
use laptop::{Bucket, Ran, events, text, trailhose};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The time within which a message is expected: five seconds, and the start of the program on a busy machine.
const SOON: Duration = Duration::from_secs(15);

/// Returns the program without credentials, region and configuration files.
fn bare(home: &Path) -> Command {
    let mut command = trailhose();
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env_remove("AWS_PROFILE").env("HOME", home).env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// Returns the program with credentials and a region.
fn configured(home: &Path) -> Command {
    let mut command = bare(home);
    command
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_REGION", "us-east-1");
    command
}

/// Runs a sync that starts nothing, and returns its one line.
fn refusal(mut command: Command, args: &[&str]) -> String {
    let started = Instant::now();
    let ran = Ran(command.arg("sync").args(args).output().unwrap());
    let (said, took) = (ran.err(), started.elapsed());
    assert_eq!((ran.code(), ran.out().as_str(), said.lines().count()), (2, "", 1), "{said}");
    assert!(took < SOON, "{took:?}: {said}");
    assert!(!said.contains("rerun") && !said.contains('{') && said.len() < 900, "{said}");
    said
}

fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
}

fn error_reply(status: u16, headers: Vec<(&'static str, String)>, code: &str, message: &str) -> Reply {
    let body = format!("<Error><Code>{code}</Code><Message>{message}</Message><RequestId>R1</RequestId></Error>");
    Reply::Answer(status, headers, body.into_bytes())
}

fn empty_listing(_: &Request) -> Reply {
    Reply::Answer(200, vec![], b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>".to_vec())
}

/// Returns an endpoint on which nothing listens.
fn closed_endpoint() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

#[test]
fn missing_profile_is_named_with_the_existing_ones() {
    let home = Bucket::new();
    let file = home.put("config", b"[profile audit]\nregion = eu-west-1\n");
    let mut command = bare(home.path());
    command.env("AWS_CONFIG_FILE", file).env("AWS_PROFILE", "adit").env("AWS_REGION", "us-east-1");
    let said = refusal(command, &["s3://logs", text(&home.path().join("out"))]);
    assert_says(&said, &["profile \"adit\" does not exist", "it has audit", "set AWS_PROFILE"]);
}

#[test]
fn expired_login_names_the_command_to_renew_it() {
    let home = Bucket::new();
    let profile = "[profile work]\nregion = eu-west-1\nsso_session = company\nsso_account_id = 111122223333\n\
                   sso_role_name = reader\n[sso-session company]\nsso_region = eu-west-1\n\
                   sso_start_url = https://company.awsapps.com/start\n";
    let file = home.put("config", profile.as_bytes());
    let mut command = bare(home.path());
    command.env("AWS_CONFIG_FILE", file).env("AWS_PROFILE", "work");
    let said = refusal(command, &["s3://logs", text(&home.path().join("out"))]);
    assert_says(&said, &["profile \"work\" cannot be loaded: run `aws sso login --profile work`"]);
}

#[test]
fn missing_credentials_and_missing_region_have_their_own_messages() {
    let home = Bucket::new();
    let source = Bucket::new();
    source.put_log("a", &events(0..1));
    let out = home.path().join("out");
    let table = ["--ledger", "dynamodb://ledger"];
    for args in [vec!["s3://logs", text(&out)], [&[text(source.path()), text(&out)], &table[..]].concat()] {
        let mut command = bare(home.path());
        command.env("AWS_REGION", "us-east-1");
        assert_says(&refusal(command, &args), &["no AWS credentials were found: set AWS_PROFILE", "aws sso login"]);
        let mut command = configured(home.path());
        command.env_remove("AWS_REGION");
        assert_says(&refusal(command, &args), &["no AWS region is configured: set AWS_REGION"]);
    }
}

#[test]
fn forbidden_instance_metadata_is_no_debug_output() {
    let home = Bucket::new();
    let stub = Stub::start(|_| Reply::Answer(403, vec![], b"<html>Forbidden</html>".to_vec()));
    let mut command = bare(home.path());
    command.env_remove("AWS_EC2_METADATA_DISABLED").env("AWS_EC2_METADATA_SERVICE_ENDPOINT", stub.endpoint());
    command.env("AWS_REGION", "us-east-1");
    let said = refusal(command, &["s3://logs", text(&home.path().join("out"))]);
    assert_says(&said, &["the instance metadata service refused the request", "set AWS_PROFILE"]);
}

#[test]
fn each_rejection_has_its_own_next_step() {
    let home = Bucket::new();
    let scp = "User: arn:aws:sts::111122223333:assumed-role/r/s is not authorized to perform: s3:ListBucket on resource: \
               \"arn:aws:s3:::logs\" with an explicit deny in a service control policy";
    for (status, code, message, step) in [
        (403, "InvalidAccessKeyId", "The AWS Access Key Id does not exist in our records.", "check the key ID"),
        (
            403,
            "SignatureDoesNotMatch",
            "The request signature does not match.",
            "the secret access key does not belong",
        ),
        (400, "ExpiredToken", "The provided token has expired.", "the session has expired: renew it"),
        (403, "RequestTimeTooSkewed", "The difference is too large.", "set the clock"),
        (403, "AccessDenied", scp, "a service control policy of the organization denies it"),
        (301, "PermanentRedirect", "Use the specified endpoint.", "AWS_REGION=eu-central-1"),
        (404, "NoSuchBucket", "The specified bucket does not exist", "bucket logs does not exist"),
    ] {
        let (sent_code, sent) = (code.to_owned(), message.to_owned());
        let stub = Stub::start(move |_| {
            error_reply(status, vec![("x-amz-bucket-region", "eu-central-1".into())], &sent_code, &sent)
        });
        let mut command = configured(home.path());
        command.env("AWS_ENDPOINT_URL_S3", stub.endpoint());
        let said = refusal(command, &["s3://logs", text(&home.path().join("out"))]);
        assert_says(&said, &[step]);
    }
}

#[test]
fn service_that_does_not_answer_is_reported_within_seconds() {
    let home = Bucket::new();
    let source = Bucket::new();
    source.put_log("a", &events(0..1));
    let out = home.path().join("out");
    let silent = Stub::start(|_| Reply::Silence(Duration::from_secs(60)));
    let s3 = ["s3://logs", text(&out)];
    let table = [text(source.path()), text(&out), "--ledger", "dynamodb://ledger"];
    let ledger = home.path().join("ledger.db");
    let stream = [text(source.path()), "firehose://events", "--ledger", text(&ledger)];
    for (variable, args) in [
        ("AWS_ENDPOINT_URL_S3", &s3[..]),
        ("AWS_ENDPOINT_URL_DYNAMODB", &table[..]),
        ("AWS_ENDPOINT_URL_FIREHOSE", &stream[..]),
    ] {
        for (endpoint, reason) in
            [(closed_endpoint(), "Connection refused"), (silent.endpoint(), "no answer within 5 s")]
        {
            let mut command = configured(home.path());
            command.env(variable, &endpoint);
            assert_says(&refusal(command, args), &[reason, &format!("check {variable}={endpoint}")]);
        }
    }
}

#[test]
fn credential_process_may_take_longer_and_runs_once() {
    let home = Bucket::new();
    let program = home.put(
        "ask",
        b"#!/bin/sh\necho asked >> \"$HOME/asked\"\nsleep 6\n\
          echo '{\"Version\":1,\"AccessKeyId\":\"AKIAEXAMPLE\",\"SecretAccessKey\":\"secret\"}'\n",
    );
    let config = format!("[profile code]\nregion = us-east-1\ncredential_process = /bin/sh {}\n", program.display());
    let file = home.put("config", config.as_bytes());
    let stub = Stub::start(empty_listing);
    let mut command = bare(home.path());
    command.env("AWS_CONFIG_FILE", file).env("AWS_PROFILE", "code").env("AWS_ENDPOINT_URL_S3", stub.endpoint());
    let ran = Ran(command.args(["sync", "s3://logs", text(&home.path().join("out")), "--json"]).output().unwrap());
    assert_eq!(ran.json()["result"], "complete", "{ran:?}");
    assert_says(&ran.err(), &["waiting for AWS credentials from the credential_process of profile \"code\""]);
    assert_eq!(std::fs::read_to_string(home.path().join("asked")).unwrap(), "asked\n");
}
