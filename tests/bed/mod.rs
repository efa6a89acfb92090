//! What the tests run against: AWS emulators, a proxy that makes them fail on demand, AWS's Lambda runtime emulator, and
//! the whole template deployed. Everything listens on 127.0.0.1, keeps its files in its own temporary folder, and ends
//! with the test process, even when that is killed.
//!
//! The tools come from `tools/setup`. A tool that is missing fails the test that wants it; nothing is skipped.
#![allow(dead_code, unreachable_pub)] // Every test program takes a part of this module, none takes all.

pub mod bucket;
pub mod emulator;
pub mod faults;
pub mod http;
pub mod process;
pub mod runtime;
pub mod stack;
pub mod stream;
pub mod table;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The region every emulator is asked for.
pub const REGION: &str = "us-east-1";

/// The account in which the emulators put what they make.
pub const ACCOUNT: &str = "000000000000";

/// The repository's top folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of an installed tool.
pub fn tool(path: &str) -> PathBuf {
    let path = root().join(".tools").join(path);
    assert!(path.exists(), "{} is missing: run ./test --setup", path.display());
    path
}

/// A Lambda program, `ingest` or `backfill`. It belongs to a package of its own, so cargo does not build it for these
/// tests by itself: the first caller in each test process does.
pub fn lambda_program(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root()).args(["build", "--locked", "--quiet"]);
        cargo.args(["--package", "trailhose-ingest", "--package", "trailhose-backfill"]);
        let (profile, folder) = if cfg!(debug_assertions) { ("dev", "debug") } else { ("release", "release") };
        let status = cargo.args(["--profile", profile]).status().unwrap();
        assert!(status.success(), "the Lambda programs do not build: {status}");
        Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(folder)
    });
    folder.join(name)
}

/// What an AWS client needs to talk to `endpoint` as the account's root, from which the emulators withhold nothing.
pub fn config(endpoint: &str) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("test", "test", None, None, "bed")))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build()
}
