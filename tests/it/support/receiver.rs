//! A scripted receiver of notifications, on a real loopback socket.
//!
//! It answers each request with the next line of its script, and with the last line when the script is over. It notes
//! what it got in order of arrival. Nothing here waits for time: a test waits for requests, and a held answer waits
//! for the test.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// What a receiver does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Answers with this status and no body.
    Status(u16),
    /// Answers 200, when the gate opens.
    Held(Gate),
    /// Answers with this status and this body.
    Body(u16, String),
    /// Answers 302 to this place.
    Redirect(String),
    /// Reads the request and closes the connection.
    Close,
    /// Reads the request and resets the connection.
    Reset,
    /// Answers 200 with a body that does not end.
    Endless,
    /// Answers 200 with headers that do not end.
    HugeHeaders,
    /// Answers 200 with one byte of a long body, and no more before the gate opens.
    Drip(Gate),
    /// Sends one byte of the head of an answer, and no more before the gate opens.
    DripHead(Gate),
    /// Answers 200 with a part of its body, and resets the connection.
    ResetInBody,
    /// Promises a longer body than it sends, then closes.
    Short,
    /// Answers with something that is not HTTP.
    Garbage,
}

/// Holds answers back until it is opened.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    /// A closed gate.
    pub(crate) fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets everyone through, from now on.
    pub(crate) fn open(&self) {
        self.0.close();
    }

    pub(crate) async fn pass(&self) {
        // An error means that the gate was opened.
        self.0.acquire().await.map(|_| ()).unwrap_or_default();
    }
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    /// The method.
    pub(crate) method: String,
    /// The path and the query, byte for byte.
    pub(crate) target: String,
    /// The headers in order, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The value of a header that must be there once.
    pub(crate) fn header(&self, name: &str) -> &str {
        let values: Vec<&str> =
            self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect();
        assert_eq!(values.len(), 1, "{name} is there {values:?}");
        values[0]
    }

    /// Whether a header is there.
    pub(crate) fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(key, _)| key == name)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A running receiver. It ends when it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    taken: usize,
    _tasks: JoinSet<()>,
}

struct Shared {
    script: Mutex<VecDeque<Answer>>,
    requests: Mutex<Vec<Received>>,
    /// How many requests and how many connections there were.
    seen: watch::Sender<(usize, usize)>,
}

impl Receiver {
    /// Starts one that follows this script; an empty one answers 200.
    pub(crate) async fn start(script: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Mutex::new(script.into_iter().collect());
        let shared = Arc::new(Shared { script, requests: Mutex::default(), seen: watch::Sender::new((0, 0)) });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, taken: 0, _tasks: tasks }
    }

    /// Answers the next request like this, before the script goes on.
    pub fn answer_next(&self, answer: Answer) {
        self.shared.script.lock().unwrap().push_front(answer);
    }

    /// Answers every further request like this.
    pub(crate) fn answer_always(&self, answer: Answer) {
        *self.shared.script.lock().unwrap() = VecDeque::from([answer]);
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL that leads to it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The next request that was not taken yet; waits for it.
    pub(crate) async fn next(&mut self) -> Received {
        let wanted = self.taken + 1;
        self.arrived(wanted).await;
        self.taken = wanted;
        self.requests()[wanted - 1].clone()
    }

    /// Waits until this many requests have arrived.
    pub(crate) async fn arrived(&self, count: usize) {
        self.shared.seen.subscribe().wait_for(|(requests, _)| *requests >= count).await.unwrap();
    }

    /// Every request so far, in order of arrival.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Requests that were not taken yet, in order of arrival; waits for one.
    pub(crate) async fn rest(&mut self) -> Vec<Received> {
        self.arrived(self.taken + 1).await;
        let rest = self.shared.requests.lock().unwrap()[self.taken..].to_vec();
        self.taken += rest.len();
        rest
    }

    /// How many requests have arrived so far.
    pub(crate) fn count(&self) -> usize {
        self.shared.seen.borrow().0
    }

    /// How many connections were made so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.seen.borrow().1
    }
}

/// An address of this machine where nothing listens.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        shared.seen.send_modify(|seen| seen.1 += 1);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // The other side may leave at any moment; that ends this connection and nothing else.
            serve(stream, &shared).await.unwrap_or_default();
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await? {
        let answer = {
            let mut script = shared.script.lock().unwrap();
            if script.len() > 1 { script.pop_front() } else { script.front().cloned() }
        };
        shared.requests.lock().unwrap().push(request);
        shared.seen.send_modify(|seen| seen.0 += 1);
        if !give(answer.unwrap_or(Answer::Status(200)), &mut stream).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Gives an answer. Whether the connection can be used again.
async fn give(answer: Answer, stream: &mut BufReader<TcpStream>) -> io::Result<bool> {
    match answer {
        Answer::Status(status) => write(stream, &head(status, "content-length: 0\r\n")).await?,
        Answer::Held(gate) => {
            gate.pass().await;
            write(stream, &head(200, "content-length: 0\r\n")).await?;
        }
        Answer::Body(status, body) => {
            write(stream, &head(status, &format!("content-length: {}\r\n", body.len()))).await?;
            write(stream, &body).await?;
        }
        Answer::Redirect(to) => write(stream, &head(302, &format!("location: {to}\r\ncontent-length: 0\r\n"))).await?,
        Answer::Close => return Ok(false),
        Answer::Reset => {
            stream.get_ref().set_zero_linger()?;
            return Ok(false);
        }
        Answer::Endless => {
            write(stream, &head(200, "")).await?;
            repeat(stream, &"x".repeat(4096)).await?;
        }
        Answer::HugeHeaders => {
            write(stream, "HTTP/1.1 200 OK\r\n").await?;
            repeat(stream, &format!("x-more: {}\r\n", "x".repeat(4096))).await?;
        }
        Answer::Drip(gate) => {
            write(stream, &head(200, "content-length: 1000\r\n")).await?;
            write(stream, "d").await?;
            gate.pass().await;
            return Ok(false);
        }
        Answer::DripHead(gate) => {
            write(stream, "H").await?;
            gate.pass().await;
            return Ok(false);
        }
        Answer::ResetInBody => {
            write(stream, &head(200, "content-length: 1000\r\n")).await?;
            write(stream, "part").await?;
            stream.get_ref().set_zero_linger()?;
            return Ok(false);
        }
        Answer::Short => {
            write(stream, &head(200, "content-length: 1000\r\n")).await?;
            write(stream, "short").await?;
            return Ok(false);
        }
        Answer::Garbage => {
            write(stream, "220 mail.test ESMTP\r\n").await?;
            return Ok(false);
        }
    }
    Ok(true)
}

fn head(status: u16, headers: &str) -> String {
    format!("HTTP/1.1 {status} Scripted\r\n{headers}\r\n")
}

async fn write(stream: &mut BufReader<TcpStream>, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await
}

/// Writes until the other side has had enough.
async fn repeat(stream: &mut BufReader<TcpStream>, text: &str) -> io::Result<()> {
    loop {
        write(stream, text).await?;
    }
}

/// Reads one request; `None` when the connection was closed before one.
async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Received>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && head.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ').map(str::to_owned);
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Received { method: first.next().unwrap(), target: first.next().unwrap(), headers, body }))
}
