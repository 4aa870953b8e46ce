//! TLS that is broken, in each of the ways it can be: every attempt ends in time, nothing is sent, and the reason is on it.
//!
//! The server is the real binary, which trusts an authority of the test's alone.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::cluster::run;
use crate::support::server::{Server, Settings};

/// How `openssl ca` signs, for it alone can say from when to when.
const AUTHORITY: &str = "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\nnew_certs_dir = .\nrand_serial = yes\n\
    default_md = sha256\npolicy = any\ncertificate = ca.pem\nprivate_key = ca.key\ncopy_extensions = copy\n\
    unique_subject = no\n[any]\ncommonName = supplied\n";

fn openssl(home: &Path, arguments: &str) {
    run(Command::new("openssl").args(arguments.split(' ')).current_dir(home));
}

/// Makes an authority, and three certificates: a good one, one that has expired, and one of nobody's.
fn certificates(home: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    std::fs::write(home.join("ca.cnf"), AUTHORITY).unwrap();
    std::fs::write(home.join("index.txt"), "").unwrap();
    openssl(home, &format!("req -x509 {key} -days 2 -keyout ca.key -out ca.pem -subj /CN=authority"));
    openssl(
        home,
        &format!(
            "req -x509 {key} -days 2 -keyout own.key -out own.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        ),
    );
    for (name, from, until) in
        [("good", "20260101000000Z", "20991231000000Z"), ("late", "20200101000000Z", "20200102000000Z")]
    {
        openssl(
            home,
            &format!(
                "req {key} -keyout {name}.key -out {name}.csr -subj /CN=localhost -addext subjectAltName=DNS:localhost"
            ),
        );
        openssl(
            home,
            &format!(
                "ca -batch -notext -config ca.cnf -in {name}.csr -out {name}.pem -startdate {from} -enddate {until}"
            ),
        );
    }
}

/// A receiver behind a certificate, and how many requests it has read.
async fn behind(home: &Path, name: &str, tasks: &mut JoinSet<()>) -> u16 {
    let chain = CertificateDer::pem_file_iter(home.join(format!("{name}.pem"))).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(home.join(format!("{name}.key"))).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that refuses the certificate leaves in the middle of the handshake.
            answer(&acceptor, stream).await.unwrap_or_default();
        }
    });
    port
}

async fn answer(acceptor: &TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut request = vec![0; 64 * 1024];
    let read = stream.read(&mut request).await?;
    assert!(request[..read].starts_with(b"POST "), "only those who trust it get this far");
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?;
    stream.shutdown().await
}

/// A port on which a handshake begins and never goes on.
async fn silent(tasks: &mut JoinSet<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    port
}

/// A port on which plain HTTP is spoken.
async fn plain(tasks: &mut JoinSet<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut sent = vec![0; 4096];
            let read = stream.read(&mut sent).await.unwrap_or(0);
            assert!(!sent[..read].starts_with(b"POST"), "nothing is sent in the clear");
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await.unwrap_or_default();
        }
    });
    port
}

async fn told(server: &Server, key: &str) -> (String, u64) {
    let delivery = loop {
        let (_, page) = server.call("GET", &format!("/v1/deliveries?endpoint={key}"), None).await;
        let newest = page["deliveries"][0].clone();
        if newest["attempt_count"].as_u64().unwrap_or(0) > 0 {
            break newest;
        }
    };
    let (_, shown) = server.call("GET", &format!("/v1/deliveries/{}", delivery["id"].as_str().unwrap()), None).await;
    let attempt = &shown["attempts"][0];
    (attempt["said"].as_str().unwrap().to_owned(), attempt["duration_ms"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_break_tls_ends_in_time_and_says_which_it_was() {
    let home = tempfile::tempdir().unwrap();
    certificates(home.path());
    let mut tasks = JoinSet::new();
    let good = behind(home.path(), "good", &mut tasks).await;
    let late = behind(home.path(), "late", &mut tasks).await;
    let own = behind(home.path(), "own", &mut tasks).await;
    let silent = silent(&mut tasks).await;
    let plain = plain(&mut tasks).await;
    let cases = [
        ("good", format!("https://localhost:{good}/x"), "200"),
        (
            "self-signed",
            format!("https://localhost:{own}/x"),
            "its certificate is not from an authority that is trusted here",
        ),
        ("wrong-name", format!("https://127.0.0.1:{good}/x"), "its certificate is not for this host"),
        ("expired", format!("https://localhost:{late}/x"), "its certificate has expired"),
        ("plain", format!("https://localhost:{plain}/x"), "what answers does not speak TLS"),
        ("hanging", format!("https://localhost:{silent}/x"), "no connection"),
    ];
    let endpoints = cases
        .iter()
        .map(|(key, url, _)| format!("  - {{ key: {key}, url: \"{url}\" }}\n"))
        .collect::<Vec<_>>()
        .concat();
    let webhooks = cases.iter().map(|(key, ..)| format!("      - endpoint: {key}\n")).collect::<Vec<_>>().concat();
    let rule = format!(
        "version: 1\nrules:\n  - key: all\n    project: p\n    every: immediate\n    webhooks:\n{webhooks}endpoints:\n{endpoints}"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rule.yaml"), rule).unwrap();
    let settings = Settings::with(["--rules", folder.path().to_str().unwrap(), "--allow-targets", "127.0.0.0/8,::1"]);
    let server = Server::start(settings.env("SSL_CERT_FILE", home.path().join("ca.pem").to_str().unwrap()));
    let run = json!({"name": "a", "run_type": "chain", "session_name": "p", "start_time": "2026-01-02T03:04:05Z",
        "end_time": "2026-01-02T03:04:06Z"});
    assert_eq!(server.call("POST", "/runs", Some(&run)).await.0, 202);
    for (key, _, reason) in cases {
        let (said, took) = told(&server, key).await;
        assert!(said.contains(reason), "{key}: {said}");
        assert!(took < 15_000, "{key}: {took} ms");
        let (_, probed) = server.call("POST", &format!("/v1/endpoints/{key}/test"), None).await;
        assert_eq!(probed["ok"], Value::Bool(key == "good"), "{key}: {probed}");
        assert!(probed["said"].as_str().unwrap().contains(reason), "{key}: {probed}");
    }
    while let Some(ended) = tasks.try_join_next() {
        ended.unwrap();
    }
}
