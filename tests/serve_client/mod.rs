//! A running `trailhose serve`, and a client that sends exactly what a test says.

#![allow(dead_code)] // Each test file uses a part.

use crate::laptop::{Bucket, events, trailhose};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Timeout of a wait, more than ten times the longest expected wait.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A folder with a bucket, settings and a destination.
pub struct Site {
    pub folder: tempfile::TempDir,
    pub bucket: Bucket,
}

impl Site {
    /// Creates settings with one source of 40 events, and further lines for `[serve]`.
    pub fn new(serve: &str) -> Self {
        let bucket = Bucket::new();
        bucket.put_log("a", &events(0..40));
        let site = Self { folder: tempfile::tempdir().unwrap(), bucket };
        let source = site.bucket.path().display();
        site.write(&format!(
            "[serve]\n{serve}\n[[source]]\nid = \"first\"\nfolder = \"{source}\"\ninterval = \"10s\"\n"
        ));
        site
    }

    /// Replaces the settings after the destination.
    pub fn write(&self, settings: &str) {
        std::fs::write(self.settings(), format!("dest = \"events\"\ncheckpoint = 0.05\n{settings}")).unwrap();
    }

    pub fn settings(&self) -> PathBuf {
        self.folder.path().join("trailhose.toml")
    }

    pub fn dest(&self) -> PathBuf {
        self.folder.path().join("events")
    }

    pub fn command(&self) -> Command {
        let mut command = trailhose();
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(self.settings());
        command.current_dir(self.folder.path());
        command
    }

    pub fn start(&self) -> Server {
        Server::start(self.command())
    }

    /// Runs `trailhose token` and returns what it prints.
    pub fn token(&self, args: &[&str]) -> String {
        let mut command = trailhose();
        let output = command.arg("token").args(args).arg("--json").current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Creates a token and returns it.
    pub fn new_token(&self, args: &[&str]) -> String {
        let created: Value = serde_json::from_str(&self.token(&[&["create"], args].concat())).unwrap();
        created["token"].as_str().unwrap().to_owned()
    }
}

/// A running server, killed on drop.
pub struct Server {
    pub child: Child,
    pub port: u16,
    lines: Receiver<String>,
}

impl Server {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let mut server = Self { child, port: 0, lines };
        let line = server.line("listening on ");
        server.port = line.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        server
    }

    /// Returns the next line on standard error that contains a text.
    pub fn line(&self, part: &str) -> String {
        let started = Instant::now();
        let mut others = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(TIMEOUT.saturating_sub(started.elapsed())) {
            if line.contains(part) {
                return line;
            }
            others.push(line);
        }
        panic!("no line contains {part:?}: {others:#?}");
    }

    /// Returns the lines so far.
    pub fn rest(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    pub fn request(&self, method: &str, path: &str) -> Request {
        Request { port: self.port, method: method.into(), path: path.into(), headers: Vec::new(), body: None }
    }

    pub fn get(&self, path: &str) -> Reply {
        self.request("GET", path).send()
    }

    pub fn json(&self, path: &str) -> Value {
        let reply = self.get(path);
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        reply.json()
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.request("POST", path).json_body(body).send()
    }

    /// Waits until an answer fulfills a condition, and returns it.
    pub fn until(&self, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let found = self.json(path);
            if condition(&found) {
                return found;
            }
            assert!(started.elapsed() < TIMEOUT, "{path} is still {found}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends a signal and waits for the end.
    pub fn end(mut self, signal: &str) -> (ExitStatus, Vec<String>) {
        kill(self.child.id(), signal);
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.lines.iter().collect());
            }
            assert!(started.elapsed() < TIMEOUT, "the server does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub fn kill(process: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request that is not sent yet.
pub struct Request {
    port: u16,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub fn json_body(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string().into_bytes())
    }

    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self
    }

    pub fn send(self) -> Reply {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut head = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", self.method, self.path);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += &format!("Host: 127.0.0.1:{}\r\n", self.port);
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A server that refuses the head may close the connection before the end of the body.
        if let Some(body) = &self.body {
            let _ = stream.write_all(body);
        }
        Reply::read(&mut stream).expect("an answer")
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// Reads an answer until the end of the connection.
    pub fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
                None => break,
            }
        }
        let reply = Self { status, headers, body: Vec::new() };
        let length = reply.header("content-length").and_then(|length| length.parse().ok());
        let mut body = Vec::new();
        match length {
            Some(length) => {
                body.resize(length, 0);
                reader.read_exact(&mut body).ok()?;
            }
            None => drop(reader.read_to_end(&mut body)),
        }
        Some(Self { body, ..reply })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Returns the text of a path for the settings.
pub fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_str().unwrap())
}
