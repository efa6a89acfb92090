//! `trailhose init`: from CloudTrail's own word to settings, and to what the buckets still need.
//!
//! Asks only; nothing in the account is changed.

mod bucket;
mod render;
mod trails;

use crate::args::InitArgs;
use crate::components::Aws;
use bucket::Bucket;
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use trails::Trail;

/// One place that trails write to, and what was found out about it.
#[derive(Debug, Serialize)]
struct Found {
    bucket: String,
    prefix: String,
    trails: Vec<Trail>,
    /// Organisations whose folders lie in it.
    organizations: Vec<String>,
    /// The bucket's region, where it is not the configured one.
    bucket_region: Option<String>,
    /// What is set up, and what must be done.
    wiring: Vec<Wiring>,
}

/// One thing that ingestion on AWS needs of a bucket.
#[derive(Debug, Serialize)]
struct Wiring {
    /// What was found.
    found: String,
    /// What to do; nothing if all is well.
    to_do: Option<String>,
}

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: &InitArgs) -> Result<u8, String> {
    if !args.print && !args.force && args.config.exists() {
        return Err(format!("{} is there already: --force writes over it, --print shows", args.config.display()));
    }
    let aws = Aws::default();
    let regions = match (&args.regions[..], aws.config().await.region()) {
        ([], Some(region)) => vec![region.to_string()],
        ([], None) => return Err("no region is configured: name one with --region, or set AWS_REGION".into()),
        (named, _) => named.to_vec(),
    };
    let trails = trails::describe(&aws, &regions).await?;
    if trails.is_empty() {
        let regions = regions.join(", ");
        return Err(format!(
            "no trail is seen from {regions}: a trail of one region is seen only there, name it with --region"
        ));
    }
    let mut found = Vec::new();
    for ((bucket, prefix), trails) in trails::by_place(trails) {
        let asked = Bucket::ask(&aws, &bucket, &prefix).await;
        let wiring = asked.wiring(&bucket, &trails);
        let (organizations, bucket_region) = (asked.organizations, asked.region);
        found.push(Found { bucket, prefix, trails, organizations, bucket_region, wiring });
    }
    let settings = render::settings(&found, &regions);
    if args.print {
        say(&mut std::io::stdout(), &settings);
        say(&mut anstream::stderr(), &render::findings(&found));
        return Ok(0);
    }
    write(&args.config, args.force, &settings)?;
    let mut text = if args.json {
        serde_json::json!({ "written": args.config, "regions": regions, "sources": found }).to_string()
    } else {
        let sources = if found.len() == 1 { "1 source".to_owned() } else { format!("{} sources", found.len()) };
        format!("{}{} is written: {sources}. Now: trailhose sync", render::findings(&found), args.config.display())
    };
    text.push('\n');
    say(&mut anstream::stdout(), &text);
    Ok(0)
}

fn say(to: &mut dyn std::io::Write, text: &str) {
    // A reader that has gone away has seen what it wanted.
    let _ = to.write_all(text.as_bytes());
}

/// Writes the file in one step: whoever reads it finds all of it or none.
fn write(path: &Path, force: bool, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("{} is there already: --force writes over it, --print shows", path.display())
        }
        _ => format!("{} cannot be written: {error}", path.display()),
    };
    if !force {
        // Whoever made it since is not written over.
        let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
        return file.write_all(text.as_bytes()).map_err(failed);
    }
    let beside = path.with_extension("toml.new");
    std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path)).map_err(failed)
}
