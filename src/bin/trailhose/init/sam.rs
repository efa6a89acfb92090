//! `trailhose init --sam`: writes `samconfig.toml`, so that `sam build` and `sam deploy` ask nothing.

use super::questions::Questions;
use super::{say, write};
use crate::args::InitArgs;
use crate::components::Aws;
use serde_json::json;
use std::io::IsTerminal as _;
use std::path::Path;
use trailhose::setup::{AwsAccount, FoundBucket, Inspection, Proposal, ProposedWiring, inspect};

/// Name of the file that the SAM CLI reads.
const SAM_CONFIG: &str = "samconfig.toml";

const STACK: &str = "trailhose";

pub(super) async fn run(args: &InitArgs) -> Result<u8, String> {
    let path = args.config.clone().unwrap_or_else(|| SAM_CONFIG.into());
    super::refuse_existing(args, &path)?;
    if !args.yes && !args.print && !std::io::stdin().is_terminal() {
        return Err(
            "trailhose init --sam asks up to five questions, and standard input is not a terminal: use --yes to \
                    accept the proposal, or --print to show it"
                .into(),
        );
    }
    let aws = Aws::default();
    let region = match (&args.regions[..], aws.region().await?) {
        ([region], _) => region.clone(),
        ([], Some(region)) => region,
        ([], None) => return Err("no region is configured: use --region, or set AWS_REGION".into()),
        _ => return Err("--sam searches one region: use --region once".into()),
    };
    let account = AwsAccount::new(aws.config_in(&region).await?);
    let only = args.bucket.as_deref().map(|location| location.split_once('/').unwrap_or((location, "")));
    let only = only.map(|(bucket, prefix)| (bucket, prefix.trim_end_matches('/')));
    let found = inspect(&account, only).await;
    for note in &found.notes {
        anstream::eprintln!("{}", crate::text::one_line(note));
    }
    if found.buckets.is_empty() {
        return Err(format!(
            "no trail is visible in {region}: use --region to search the home region of a single-region trail, or \
             --bucket BUCKET to name the CloudTrail bucket"
        ));
    }
    let (proposal, asked) = match args.yes || args.print {
        true => (proposal(&found, &region)?, 0),
        false => {
            let (mut input, mut output) = (std::io::stdin().lock(), anstream::stderr());
            let mut questions = Questions::new(&mut input, &mut output);
            (ask(&mut questions, &found, &region)?, questions.asked())
        }
    };
    let text = proposal.samconfig(&found.notes);
    if args.print {
        say(&mut std::io::stdout(), &text);
        return Ok(0);
    }
    write(&path, args.force, &text)?;
    report(&proposal, &found, &path, asked, args.json);
    Ok(0)
}

/// Returns the proposal for the most suitable bucket.
fn proposal(found: &Inspection, region: &str) -> Result<Proposal, String> {
    let bucket = &found.buckets[0];
    let proposal = Proposal::new(found, bucket, STACK, region);
    match proposal.lacks_account(bucket) {
        true => Err(format!(
            "bucket {} belongs to another account, and its ID is not known: run trailhose init --sam on a terminal, which \
             asks for it",
            bucket.name
        )),
        false => Ok(proposal),
    }
}

/// Asks up to five questions: the bucket, if there are several; the name of the stack; the account of the bucket, if
/// another account owns it; the key, if it is not known; whether the stack adds the notification, if this account owns the
/// bucket; the email address for alarms.
fn ask(questions: &mut Questions<'_>, found: &Inspection, region: &str) -> Result<Proposal, String> {
    let bucket = match &found.buckets[..] {
        [only] => only,
        several => {
            let options: Vec<String> = several.iter().map(|bucket| describe(found, bucket)).collect();
            &several[questions.choice("CloudTrail bucket", &options)?]
        }
    };
    let stack = questions.text("Name of the stack", STACK, is_stack_name)?;
    let mut proposal = Proposal::new(found, bucket, &stack, region);
    if bucket.is_own == Some(false) {
        let guess = proposal.bucket_account.clone().unwrap_or_default();
        proposal.bucket_account = Some(questions.text("Account that owns the bucket", &guess, is_account)?);
        proposal.is_account_assumed = false;
    }
    if bucket.key.is_none() {
        let key = questions.text("ARN of the KMS key that encrypts the objects", "", is_key)?;
        proposal.key_arn = Some(key).filter(|key| !key.is_empty());
    }
    if proposal.wires_bucket {
        let what = match proposal.wiring {
            ProposedWiring::EventBridge => "switches on the bucket's delivery to EventBridge",
            _ => "adds its notification to the bucket",
        };
        proposal.wires_bucket = questions.confirm(&format!("The stack {what} ({})", proposal.wiring_reason))?;
    }
    let email = questions.text("Email address for alarms", "", is_email)?;
    proposal.alarm_email = Some(email).filter(|email| !email.is_empty());
    Ok(proposal)
}

fn describe(found: &Inspection, bucket: &FoundBucket) -> String {
    let slash = if bucket.prefix.is_empty() { "" } else { "/" };
    let reason = Proposal::new(found, bucket, STACK, "").bucket_reason;
    format!("{}{slash}{} ({reason})", bucket.name, bucket.prefix)
}

fn is_stack_name(text: &str) -> Result<(), &'static str> {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_valid = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && text.len() <= 128;
    if starts_well && is_valid { Ok(()) } else { Err("a letter, followed by letters, digits and hyphens") }
}

fn is_account(text: &str) -> Result<(), &'static str> {
    let is_valid = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_valid { Ok(()) } else { Err("12 digits") }
}

fn is_key(text: &str) -> Result<(), &'static str> {
    let is_valid = text.is_empty() || (text.starts_with("arn:") && text.contains(":kms:") && text.contains(":key/"));
    if is_valid { Ok(()) } else { Err("arn:aws:kms:REGION:ACCOUNT:key/ID, or nothing") }
}

fn is_email(text: &str) -> Result<(), &'static str> {
    let is_valid =
        text.is_empty() || text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
    if is_valid { Ok(()) } else { Err("an email address, or nothing") }
}

fn report(proposal: &Proposal, found: &Inspection, path: &Path, asked: usize, is_json: bool) {
    if is_json {
        let topic = match &proposal.wiring {
            ProposedWiring::Sns { topic } => Some(topic),
            _ => None,
        };
        crate::print::print_json(&json!({
            "written": path,
            "stack": proposal.stack,
            "region": proposal.region,
            "bucket": proposal.bucket,
            "bucket_account": proposal.bucket_account,
            "bucket_account_assumed": proposal.bucket_account.is_some() && proposal.is_account_assumed,
            "prefix": proposal.prefix,
            "key_arn": proposal.key_arn,
            "wiring": proposal.wiring.as_str(),
            "wiring_reason": proposal.wiring_reason,
            "topic_arn": topic,
            "wire_bucket": proposal.wires_bucket,
            "notes": found.notes,
            "questions": asked,
        }));
        return;
    }
    let wire = match (&proposal.wiring, proposal.wires_bucket) {
        (ProposedWiring::Sns { .. }, _) | (_, true) => String::new(),
        _ => format!(" && trailhose wire --stack {}", proposal.stack),
    };
    let text = format!(
        "Wrote {} for bucket {} in {}.\nWiring {}: {}.\nNext: sam build && sam deploy{wire}\n",
        path.display(),
        proposal.bucket,
        proposal.region,
        proposal.wiring.as_str(),
        crate::text::one_line(&proposal.wiring_reason),
    );
    say(&mut anstream::stdout(), &text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(name: &str, is_own: bool) -> FoundBucket {
        FoundBucket {
            name: name.into(),
            prefix: String::new(),
            trails: Vec::new(),
            region: Some("eu-west-1".into()),
            is_own: Some(is_own),
            notifications: None,
            key: None,
        }
    }

    fn answered(buckets: Vec<FoundBucket>, mut answers: &[u8]) -> (Proposal, usize) {
        let (found, mut output) = (Inspection { buckets, ..Inspection::default() }, Vec::new());
        let mut questions = Questions::new(&mut answers, &mut output);
        let proposal = ask(&mut questions, &found, "eu-west-1").unwrap();
        (proposal, questions.asked())
    }

    #[test]
    fn at_most_five_questions_are_asked() {
        let several = vec![bucket("a", true), bucket("b", false)];
        let key = "arn:aws:kms:eu-west-1:111122223333:key/1";
        let (own, asked) = answered(several.clone(), format!("1\nlogs\n{key}\nno\nops@example.com\n").as_bytes());
        assert_eq!(asked, 5);
        assert_eq!((own.stack.as_str(), own.wires_bucket, own.key_arn.as_deref()), ("logs", false, Some(key)));
        assert_eq!(own.alarm_email.as_deref(), Some("ops@example.com"));
        let (foreign, asked) = answered(several, b"2\n\n444455556666\n\n\n");
        assert_eq!((asked, foreign.bucket_account.as_deref()), (5, Some("444455556666")));
        let known = FoundBucket { key: Some(None), ..bucket("a", true) };
        let (proposal, asked) = answered(vec![known], b"\n\n\n");
        assert_eq!((asked, proposal.stack.as_str(), proposal.wires_bucket), (3, "trailhose", true));
    }

    #[test]
    fn invalid_answers_are_refused() {
        for (check, valid, invalid) in [
            (is_stack_name as fn(&str) -> Result<(), &'static str>, "my-stack-1", "1stack"),
            (is_account, "111122223333", "11112222333x"),
            (is_key, "", "alias/a"),
            (is_email, "ops@example.com", "ops"),
        ] {
            assert!(check(valid).is_ok() && check(invalid).is_err(), "{valid} {invalid}");
        }
    }
}
