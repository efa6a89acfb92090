//! `trailhose init`: finds the trails, writes the settings file, and lists the remaining setup steps. With `--sam`, writes
//! the parameters of a stack instead.
//!
//! Read-only: nothing in the account is changed.

mod bucket;
mod questions;
mod render;
mod sam;
mod trails;

use crate::args::InitArgs;
use crate::args::value::SETTINGS_FILE;
use crate::components::Aws;
use bucket::BucketReport;
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use trails::Trail;

/// A bucket and prefix that trails write to, and its configuration.
#[derive(Debug, Serialize)]
struct SourceReport {
    bucket: String,
    prefix: String,
    trails: Vec<Trail>,
    /// Organizations that have folders in it.
    organizations: Vec<String>,
    /// Region of the bucket, if it differs from the configured region.
    bucket_region: Option<String>,
    /// Configuration found, and remaining setup steps.
    checks: Vec<SetupCheck>,
}

/// A requirement of ingestion on AWS: what was found, and the setup step that remains.
#[derive(Debug, Serialize)]
struct SetupCheck {
    /// Current configuration.
    found: String,
    /// Setup step; `None` if nothing remains.
    to_do: Option<String>,
}

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: &InitArgs) -> Result<u8, String> {
    if args.sam {
        return sam::run(args).await;
    }
    let path = args.config.clone().unwrap_or_else(|| SETTINGS_FILE.into());
    refuse_existing(args, &path)?;
    let aws = Aws::default();
    let regions = match (&args.regions[..], aws.region().await?) {
        ([], Some(region)) => vec![region],
        ([], None) => return Err("no region is configured: use --region, or set AWS_REGION".into()),
        (named, _) => named.to_vec(),
    };
    let trails = trails::describe(&aws, &regions).await?;
    if trails.is_empty() {
        let regions = regions.join(", ");
        return Err(format!(
            "no trails found in {regions}. Single-region trails are visible only in their home region; use --region."
        ));
    }
    let mut found = Vec::new();
    for ((bucket, prefix), trails) in trails::by_location(trails) {
        let bucket_report = BucketReport::inspect(&aws, &bucket, &prefix).await?;
        let checks = bucket_report.checks(&bucket, &trails);
        let (organizations, bucket_region) = (bucket_report.organizations, bucket_report.region);
        found.push(SourceReport { bucket, prefix, trails, organizations, bucket_region, checks });
    }
    let settings = render::settings(&found, &regions);
    if args.print {
        say(&mut std::io::stdout(), &settings);
        say(&mut anstream::stderr(), &render::findings(&found));
        return Ok(0);
    }
    write(&path, args.force, &settings)?;
    let mut text = if args.json {
        serde_json::json!({ "written": path, "regions": regions, "sources": found }).to_string()
    } else {
        let sources = crate::text::counted(found.len() as u64, "source");
        format!("{}Wrote {} with {sources}. Next: trailhose sync", render::findings(&found), path.display())
    };
    text.push('\n');
    say(&mut anstream::stdout(), &text);
    Ok(0)
}

fn refuse_existing(args: &InitArgs, path: &Path) -> Result<(), String> {
    match !args.print && !args.force && path.exists() {
        true => Err(format!(
            "{} already exists: use --force to overwrite it, or --print to print the settings",
            path.display()
        )),
        false => Ok(()),
    }
}

fn say(to: &mut dyn std::io::Write, text: &str) {
    crate::print::check(to.write_all(text.as_bytes()).and_then(|()| to.flush()));
}

/// Writes the file. With `force`, the existing file is replaced atomically.
fn write(path: &Path, force: bool, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("{} already exists: use --force to overwrite it, or --print to print the settings", path.display())
        }
        _ => format!("cannot write {}: {error}", path.display()),
    };
    if !force {
        // Do not overwrite a file that was created since the check.
        let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
        return file.write_all(text.as_bytes()).map_err(failed);
    }
    let temporary = path.with_extension("toml.new");
    std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, path)).map_err(failed)
}
