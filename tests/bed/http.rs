//! The part of HTTP/1.1 that a proxy between an AWS client and an emulator needs: one exchange per connection.

use std::io::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A request or a reply: first line, headers and body.
#[derive(Debug, Clone)]
pub struct Message {
    pub first: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    /// Creates a reply.
    pub fn reply(status: u16, headers: &[(&str, &str)], body: Vec<u8>) -> Self {
        let mut headers: Vec<_> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        headers.push(("Content-Length".to_owned(), body.len().to_string()));
        Self { first: format!("HTTP/1.1 {status} Made-Up"), headers, body }
    }

    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Sets a header to exactly this value, or removes it.
    pub fn set_header(&mut self, name: &str, value: Option<String>) {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        if let Some(value) = value {
            self.headers.push((name.to_owned(), value));
        }
    }

    /// Returns the status of a reply.
    pub fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// Serializes the message for a connection that is closed after it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut message = self.clone();
        message.set_header("Connection", Some("close".to_owned()));
        let mut bytes = format!("{}\r\n", message.first).into_bytes();
        for (name, value) in &message.headers {
            bytes.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(message.body);
        bytes
    }

    /// Reads a request, and sends `100 Continue` if the client expects it. Returns `None` if the client closes first.
    pub async fn read_request(stream: &mut TcpStream) -> Result<Option<Self>> {
        let mut reader = BufReader::new(stream);
        let Some(mut message) = read_head(&mut reader).await? else { return Ok(None) };
        if message.header("Expect").is_some() {
            reader.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            message.set_header("Expect", None);
        }
        if is_chunked(&message) {
            message.body = read_chunks(&mut reader).await?;
            message.set_header("Transfer-Encoding", None);
            message.set_header("Content-Length", Some(message.body.len().to_string()));
        } else {
            let length = message.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
            message.body = vec![0; length];
            reader.read_exact(&mut message.body).await?;
        }
        Ok(Some(message))
    }

    /// Sends a request and reads the whole reply.
    pub async fn exchange(&self, address: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&self.bytes()).await?;
        let mut reader = BufReader::new(&mut stream);
        let mut reply =
            read_head(&mut reader).await?.ok_or_else(|| Error::new(ErrorKind::UnexpectedEof, "no reply"))?;
        let head_only = self.first.starts_with("HEAD ");
        let length = reply.header("Content-Length").and_then(|length| length.parse().ok());
        match length {
            _ if head_only => {}
            _ if is_chunked(&reply) => {
                reply.body = read_chunks(&mut reader).await?;
                reply.set_header("Transfer-Encoding", None);
                reply.set_header("Content-Length", Some(reply.body.len().to_string()));
            }
            Some(length) => {
                reply.body = vec![0; length];
                reader.read_exact(&mut reply.body).await?;
            }
            None => {
                reader.read_to_end(&mut reply.body).await?;
            }
        }
        Ok(reply)
    }
}

/// Returns the `authorization` header of the account's root user, whose signature the emulators do not verify.
pub fn root_authorization(service: &str) -> String {
    let scope = format!("test/20260101/{}/{service}/aws4_request", super::REGION);
    format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0")
}

fn is_chunked(message: &Message) -> bool {
    message.header("Transfer-Encoding").is_some_and(|encoding| encoding.to_ascii_lowercase().contains("chunked"))
}

async fn read_head(reader: &mut BufReader<&mut TcpStream>) -> Result<Option<Message>> {
    let mut first = String::new();
    if reader.read_line(&mut first).await? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the connection ended within the headers"));
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(Message { first: first.trim_end().to_owned(), headers, body: Vec::new() }));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| Error::new(ErrorKind::InvalidData, line.to_owned()))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

async fn read_chunks(reader: &mut BufReader<&mut TcpStream>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        let size = line.trim_end().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|_| Error::new(ErrorKind::InvalidData, line.clone()))?;
        let start = body.len();
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..]).await?;
        // The line end after the data of a chunk, or the empty trailer after the last one.
        line.clear();
        reader.read_line(&mut line).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}
