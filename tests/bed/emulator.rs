//! AWS on this machine: ministack, which runs the whole stack, and moto, a second opinion on S3 and DynamoDB.

use super::process::{Process, free_port};
use super::{REGION, tool};
use aws_config::SdkConfig;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;

/// How long a start may take. Half a second is usual; a busy machine needs more.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running emulator.
#[derive(Debug)]
pub struct Emulator {
    process: Process,
    port: u16,
    // After the process: fields drop in order, and the folder must outlive its user.
    folder: TempDir,
}

/// Whether ministack holds callers to their IAM policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policies {
    /// Every caller may do everything.
    Ignored,
    /// Signatures are verified and roles obeyed, as AWS does.
    Enforced,
}

/// Who answers the calls that a Lambda makes.
#[derive(Debug, Clone, Copy)]
pub enum LambdaEndpoint<'a> {
    /// The emulator itself.
    Emulator,
    /// This address, which passes on what it does not spoil.
    Proxy(&'a str),
}

impl Emulator {
    /// Starts a ministack of one's own.
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
                // The default is every interface.
                ("BIND_HOST", "127.0.0.1"),
                ("GATEWAY_PORT", &port),
                ("AUTH", &auth),
                ("MINISTACK_REGION", REGION),
                ("AWS_ACCESS_KEY_ID", "test"),
                ("AWS_SECRET_ACCESS_KEY", "test"),
                // Handed to every Lambda, over anything its own environment says.
                ("AWS_ENDPOINT_URL", &endpoint),
            ];
            Process::start(&tool("ministack/bin/ministack"), &[], &environment, folder)
        })
    }

    /// Starts a moto of one's own.
    pub fn moto() -> Self {
        start(|port, folder| {
            let home = folder.to_str().unwrap();
            let port = port.to_string();
            let environment = [("HOME", home), ("TMPDIR", home), ("AWS_DEFAULT_REGION", REGION)];
            Process::start(&tool("moto/bin/moto_server"), &["-H", "127.0.0.1", "-p", &port], &environment, folder)
        })
    }

    /// A ministack that all tests of one program share: give tables and buckets names of their own.
    pub fn shared_ministack() -> &'static Self {
        static SHARED: OnceLock<Emulator> = OnceLock::new();
        SHARED.get_or_init(|| Self::ministack(Policies::Ignored, LambdaEndpoint::Emulator))
    }

    /// A moto that all tests of one program share: give tables and buckets names of their own.
    pub fn shared_moto() -> &'static Self {
        static SHARED: OnceLock<Emulator> = OnceLock::new();
        SHARED.get_or_init(Self::moto)
    }

    /// Where it listens, as an URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What a client needs to talk to it.
    pub fn config(&self) -> SdkConfig {
        super::config(&self.endpoint())
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn start(mut launch: impl FnMut(u16, &Path) -> Process) -> Emulator {
    let mut last = String::new();
    // A free port can be taken by another test before the server has it: try again with a new one.
    for _ in 0..3 {
        let folder = TempDir::new().unwrap();
        let port = free_port();
        let mut process = launch(port, folder.path());
        if process.listens(port, PATIENCE) {
            return Emulator { process, port, folder };
        }
        last = process.log();
    }
    panic!("the emulator ended at its start, three times; it said:\n{last}");
}
