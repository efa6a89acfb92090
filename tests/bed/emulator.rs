//! The emulators: ministack, which runs the whole stack, and moto, an independent emulator of S3 and DynamoDB.

use super::process::{Process, free_port};
use super::{REGION, tool};
use aws_config::SdkConfig;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;

/// Time limit of a start. It usually takes half a second, and longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running emulator.
#[derive(Debug)]
pub struct Emulator {
    process: Process,
    port: u16,
    // Fields are dropped in order, and the folder must outlive the process.
    folder: TempDir,
}

/// Whether ministack enforces IAM policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policies {
    /// Every call is allowed.
    Ignored,
    /// Signatures and policies are checked, as on AWS.
    Enforced,
}

/// The endpoint that Lambda functions call.
#[derive(Debug, Clone, Copy)]
pub enum LambdaEndpoint<'a> {
    /// The emulator.
    Emulator,
    /// A proxy at this address.
    Proxy(&'a str),
}

impl Emulator {
    /// Starts a separate ministack.
    pub fn ministack(policies: Policies, lambdas: LambdaEndpoint<'_>) -> Self {
        start(|port, folder| {
            let home = folder.to_str().unwrap();
            let port = port.to_string();
            let endpoint = match lambdas {
                LambdaEndpoint::Emulator => format!("http://127.0.0.1:{port}"),
                LambdaEndpoint::Proxy(endpoint) => endpoint.to_owned(),
            };
            let auth = (policies == Policies::Enforced).to_string();
            let environment = [
                ("HOME", home),
                ("TMPDIR", home),
                // The default is to listen on every interface.
                ("BIND_HOST", "127.0.0.1"),
                ("GATEWAY_PORT", &port),
                ("AUTH", &auth),
                ("MINISTACK_REGION", REGION),
                ("AWS_ACCESS_KEY_ID", "test"),
                ("AWS_SECRET_ACCESS_KEY", "test"),
                // Set for every function; overrides its own environment.
                ("AWS_ENDPOINT_URL", &endpoint),
            ];
            Process::start(&tool("ministack/bin/ministack"), &[], &environment, folder)
        })
    }

    /// Starts a separate moto.
    pub fn moto() -> Self {
        start(|port, folder| {
            let home = folder.to_str().unwrap();
            let port = port.to_string();
            let environment = [("HOME", home), ("TMPDIR", home), ("AWS_DEFAULT_REGION", REGION)];
            Process::start(&tool("moto/bin/moto_server"), &["-H", "127.0.0.1", "-p", &port], &environment, folder)
        })
    }

    /// Returns the ministack that all tests of one program share. Tables and buckets need unique names.
    pub fn shared_ministack() -> &'static Self {
        static SHARED: OnceLock<Emulator> = OnceLock::new();
        SHARED.get_or_init(|| Self::ministack(Policies::Ignored, LambdaEndpoint::Emulator))
    }

    /// Returns the moto that all tests of one program share. Tables and buckets need unique names.
    pub fn shared_moto() -> &'static Self {
        static SHARED: OnceLock<Emulator> = OnceLock::new();
        SHARED.get_or_init(Self::moto)
    }

    /// Returns the URL of the emulator.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the AWS configuration of its clients.
    pub fn config(&self) -> SdkConfig {
        super::config(&self.endpoint())
    }

    /// Returns its output so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Returns its temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn start(mut launch: impl FnMut(u16, &Path) -> Process) -> Emulator {
    let mut last = String::new();
    // A program that is no test may take the free port before the server binds it, so the start is retried with a new port.
    for _ in 0..3 {
        let folder = TempDir::new().unwrap();
        let port = free_port();
        let mut process = launch(port, folder.path());
        if process.listens(port, PATIENCE) {
            return Emulator { process, port, folder };
        }
        last = process.log();
    }
    panic!("the emulator ended while starting, three times; its output:\n{last}");
}
