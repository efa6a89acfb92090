//! A small HTTP/1.1 server whose replies, including faults, are chosen by a closure. One thread per connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// One request.
pub struct Request {
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What the server does with a request.
pub enum Reply {
    /// Status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// A reply with this content length and a shorter body; then the connection is closed.
    Cut(Vec<(&'static str, String)>, usize, Vec<u8>),
    /// A reply with this content length that sends one byte after each pause.
    Trickle(usize, Duration),
    /// The connection is closed without a reply.
    Reset,
    /// No reply for this time; then the connection is closed.
    Silence(Duration),
}

/// The server. Its threads end with the test program.
pub struct Stub {
    address: SocketAddr,
}

impl Stub {
    pub fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let reply = Arc::new(reply);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let reply = Arc::clone(&reply);
                std::thread::spawn(move || serve(&connection, &*reply));
            }
        });
        Self { address }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn serve(connection: &TcpStream, reply: &dyn Fn(&Request) -> Reply) {
    let mut reader = BufReader::new(connection);
    while let Some(request) = read(&mut reader) {
        match reply(&request) {
            Reply::Answer(status, headers, body) => {
                if write(connection, status, &headers, body.len(), &body).is_err() {
                    return;
                }
            }
            Reply::Cut(headers, announced, body) => {
                let _ = write(connection, 200, &headers, announced, &body);
                break;
            }
            Reply::Trickle(announced, pause) => {
                let mut sent = write(connection, 200, &[], announced, &[]);
                while sent.is_ok() {
                    std::thread::sleep(pause);
                    sent = { connection }.write_all(b"x");
                }
                break;
            }
            Reply::Reset => break,
            Reply::Silence(time) => {
                std::thread::sleep(time);
                break;
            }
        }
    }
    let _ = connection.shutdown(Shutdown::Both);
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&bytes| bytes > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&bytes| bytes > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { method, path, headers, body: Vec::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

fn write(
    mut connection: &TcpStream,
    status: u16,
    headers: &[(&str, String)],
    length: usize,
    body: &[u8],
) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} Stub\r\ncontent-length: {length}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    connection.write_all(head.as_bytes())?;
    connection.write_all(body)?;
    connection.flush()
}
