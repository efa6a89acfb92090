//! The real program under AWS's own runtime interface emulator, called the way Lambda calls a function.

use super::http::Message;
use super::process::{Process, free_port};
use super::{REGION, tool};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A function, waiting to be called.
#[derive(Debug)]
pub struct Runtime {
    process: Process,
    port: u16,
    // After the process: fields drop in order, and the folder must outlive its user.
    _folder: TempDir,
}

impl Runtime {
    /// Starts the emulator for `program`, which calls the services at `endpoint` as the account's root and finds these
    /// variables beside those that Lambda sets. The program itself starts with the first call.
    pub fn start(program: &Path, endpoint: &str, variables: &[(&str, &str)]) -> Self {
        let emulator = if cfg!(target_arch = "aarch64") { "aws-lambda-rie-arm64" } else { "aws-lambda-rie-x86_64" };
        let emulator = executable(emulator);
        let mut last = String::new();
        for _ in 0..3 {
            let folder = TempDir::new().unwrap();
            let (port, api) = (free_port(), free_port());
            let calls = format!("127.0.0.1:{port}");
            let api = format!("127.0.0.1:{api}");
            let arguments = [
                "--runtime-interface-emulator-address",
                &calls,
                "--runtime-api-address",
                &api,
                program.to_str().unwrap(),
            ];
            let lambda = [
                ("HOME", folder.path().to_str().unwrap()),
                ("AWS_LAMBDA_FUNCTION_NAME", "ingest"),
                ("AWS_LAMBDA_FUNCTION_TIMEOUT", "60"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
                ("AWS_REGION", REGION),
                ("AWS_ACCESS_KEY_ID", "test"),
                ("AWS_SECRET_ACCESS_KEY", "test"),
                ("AWS_ENDPOINT_URL", endpoint),
            ];
            let mut process = Process::start(&emulator, &arguments, &[&lambda, variables].concat(), folder.path());
            if process.listens(port, PATIENCE) {
                return Self { process, port, _folder: folder };
            }
            last = process.log();
        }
        panic!("the runtime interface emulator ended at its start, three times; it said:\n{last}");
    }

    /// Calls the function and returns its answer; a failed call's answer has an `errorType`.
    pub async fn invoke(&self, payload: &str) -> Value {
        let address = format!("127.0.0.1:{}", self.port);
        let mut request = Message::reply(0, &[("Host", &address)], payload.as_bytes().to_vec());
        "POST /2015-03-31/functions/function/invocations HTTP/1.1".clone_into(&mut request.first);
        let reply = request.exchange(&address).await.unwrap();
        serde_json::from_slice(&reply.body)
            .unwrap_or_else(|error| panic!("{error} in {reply:?}; the function said:\n{}", self.log()))
    }

    /// What the function has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// Where the emulator lies: in the package of SAM, whose folder carries the Python version in its name.
fn executable(name: &str) -> std::path::PathBuf {
    let versions = std::fs::read_dir(tool("sam/lib")).unwrap();
    let version = versions.map(|entry| entry.unwrap().file_name()).next().expect(".tools/sam/lib holds a Python");
    tool(&format!("sam/lib/{}/site-packages/samcli/local/rapid/{name}", version.to_string_lossy()))
}
