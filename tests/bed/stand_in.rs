//! A stand-in for services that no emulator has. It validates requests and answers with botocore's models of the
//! services: see `stand_in.py`.

use super::process::{Process, free_port};
use super::{root, tool};
use serde_json::Value;
use std::time::Duration;
use tempfile::TempDir;

/// Time limit of the start: Python loads the models.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running stand-in.
#[derive(Debug)]
pub struct StandIn {
    _process: Process,
    port: u16,
    // Fields are dropped in order, and the folder must outlive the process.
    _folder: TempDir,
}

impl StandIn {
    /// Starts a stand-in with these answers: outputs by service and operation.
    pub fn start(answers: &Value) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("answers.json");
        std::fs::write(&file, answers.to_string()).unwrap();
        let port = free_port();
        let script = root().join("tests/bed/stand_in.py");
        let arguments = [script.to_str().unwrap(), &port.to_string(), file.to_str().unwrap()];
        let home = folder.path().to_str().unwrap();
        let environment = [("HOME", home), ("TMPDIR", home)];
        let mut process = Process::start(&tool("moto/bin/python"), &arguments, &environment, folder.path());
        assert!(process.listens(port, PATIENCE), "the stand-in ended while starting:\n{}", process.log());
        Self { _process: process, port, _folder: folder }
    }

    /// Returns its URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the requests and the answers that did not match the models.
    pub async fn violations(&self) -> Value {
        self.get("/violations").await
    }

    /// Returns the operations that were called, each with its body.
    pub async fn requests(&self) -> Vec<(String, Value)> {
        serde_json::from_value(self.get("/requests").await).unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let address = format!("127.0.0.1:{}", self.port);
        let mut request = super::http::Message::reply(0, &[], Vec::new());
        request.first = format!("GET {path} HTTP/1.1");
        request.set_header("Host", Some(address.clone()));
        let reply = request.exchange(&address).await.unwrap();
        serde_json::from_slice(&reply.body).unwrap()
    }
}
