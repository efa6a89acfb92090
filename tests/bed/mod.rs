//! The test environment: AWS emulators, a fault proxy, AWS's Lambda runtime emulator, and the
//! deployed template. Everything listens on 127.0.0.1, keeps its files in its own temporary folder, and ends
//! with the test process, even when that is killed.
//!
//! The tools come from `tools/setup`. A missing tool fails the test that needs it; no test is skipped.
#![allow(dead_code, unreachable_pub)] // Each test program uses a part of this module.

pub mod answers;
pub mod bucket;
pub mod emulator;
pub mod engine;
pub mod faults;
pub mod http;
pub mod process;
pub mod runtime;
pub mod stack;
pub mod stand_in;
pub mod stream;
pub mod table;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The region of all emulators.
pub const REGION: &str = "us-east-1";

/// The account of all resources in the emulators.
pub const ACCOUNT: &str = "000000000000";

/// Returns the top folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns a file of an installed tool.
pub fn tool(path: &str) -> PathBuf {
    let path = root().join(".tools").join(path);
    assert!(path.exists(), "{} is missing: run ./test --setup", path.display());
    path
}

/// Returns a Lambda program, `ingest`, `backfill`, `detect` or `wire`. Cargo does not build it for these tests, because it belongs to
/// another package, so the first caller in each test process builds it. `tests/arm64` sets `TRAILHOSE_TEST_PROGRAMS` to a
/// folder with other programs.
pub fn lambda_program(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = std::env::var_os("TRAILHOSE_TEST_PROGRAMS") {
        return Path::new(&folder).join(name);
    }
    let folder = BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root()).args(["build", "--locked", "--quiet"]);
        cargo.args(["ingest", "backfill", "detect", "wire"].map(|name| format!("--package=trailhose-{name}")));
        // Cargo sets these for the tests. Build scripts read some of them, so each change would build the dependencies again.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix)) {
                cargo.env_remove(name);
            }
        }
        let (profile, folder) = if cfg!(debug_assertions) { ("dev", "debug") } else { ("release", "release") };
        let status = cargo.args(["--profile", profile]).status().unwrap();
        assert!(status.success(), "building the Lambda programs failed: {status}");
        Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(folder)
    });
    folder.join(name)
}

/// Returns the AWS configuration for `endpoint` with the account's root user, which the emulators do not restrict.
pub fn config(endpoint: &str) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("test", "test", None, None, "bed")))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build()
}
