//! Runs the real program under AWS's runtime interface emulator, which calls it like Lambda.

use super::http::Message;
use super::process::{Process, free_port};
use super::{REGION, tool};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running function.
#[derive(Debug)]
pub struct Runtime {
    process: Process,
    port: u16,
    // Fields are dropped in order, and the folder must outlive the process.
    _folder: TempDir,
}

impl Runtime {
    /// Starts the emulator for `program`, which calls the services at `endpoint` as the account's root user, with these
    /// variables and those that Lambda sets. The program starts with the first call.
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
        panic!("the runtime interface emulator ended while starting, three times; its output:\n{last}");
    }

    /// Calls the function and returns its response. The response of a failed call has an `errorType`.
    pub async fn invoke(&self, payload: &str) -> Value {
        let address = format!("127.0.0.1:{}", self.port);
        let mut request = Message::reply(0, &[("Host", &address)], payload.as_bytes().to_vec());
        "POST /2015-03-31/functions/function/invocations HTTP/1.1".clone_into(&mut request.first);
        let reply = request.exchange(&address).await.unwrap();
        serde_json::from_slice(&reply.body)
            .unwrap_or_else(|error| panic!("{error} in {reply:?}; the log of the function:\n{}", self.log()))
    }

    /// Returns the log of the function.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// Returns the path of the emulator in the SAM package, whose folder name contains the Python version.
fn executable(name: &str) -> std::path::PathBuf {
    let versions = std::fs::read_dir(tool("sam/lib")).unwrap();
    let version = versions.map(|entry| entry.unwrap().file_name()).next().expect(".tools/sam/lib contains a Python");
    tool(&format!("sam/lib/{}/site-packages/samcli/local/rapid/{name}", version.to_string_lossy()))
}
