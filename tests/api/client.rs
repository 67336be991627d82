//! Just enough HTTP for the tests: an answer, or a stream of events.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// HTTP 1.0, so that bodies are neither chunked nor kept alive.
async fn send(address: SocketAddr, method: &str, path: &str, headers: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    BufReader::new(stream)
}

async fn head(stream: &mut BufReader<TcpStream>) -> (u16, String) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).await.unwrap(), 0, "the head was cut off: {head}");
    }
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head)
}

pub async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let mut stream = send(address, method, path, headers).await;
    let (status, head) = head(&mut stream).await;
    let mut body = Vec::new();
    stream.read_to_end(&mut body).await.unwrap();
    Answer { status, head, body }
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, "").await
}

/// An open stream of events.
pub struct Events {
    pub head: String,
    stream: BufReader<TcpStream>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub event: String,
    pub data: String,
}

impl Events {
    pub async fn open(address: SocketAddr, path: &str, headers: &str) -> Self {
        let mut stream = send(address, "GET", path, headers).await;
        let (status, head) = head(&mut stream).await;
        assert_eq!(status, 200, "{head}");
        Self { head, stream }
    }

    /// The next event; `None` when the service ended the stream.
    pub async fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await.unwrap() == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", value)) => event.id = value.to_owned(),
                Some(("event", value)) => event.event = value.to_owned(),
                Some(("data", value)) => event.data.push_str(value),
                _ if line == "\n" && event != Event::default() => return Some(event),
                _ => {}
            }
        }
    }
}
