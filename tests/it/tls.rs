//! TLS to PostgreSQL: who is trusted, who is not, and how a refusal reads.

use std::path::Path;

use url::Url;

use crate::replicas::{POKED, Shared, batch, within};
use crate::support::cluster::{Cluster, program, run};
use crate::support::postgres::Database;

/// Makes two authorities, of which one has signed for `localhost`, and admits nobody without TLS.
fn certificates(home: &Path) -> Vec<String> {
    let openssl = |name: &str, arguments: &[&str]| {
        let mut command = program(Path::new("openssl"));
        command.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ]);
        command.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")]).args(arguments);
        run(command.current_dir(home));
    };
    openssl("ca", &["-subj", "/CN=right authority"]);
    openssl("other", &["-subj", "/CN=wrong authority"]);
    let names = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"];
    let signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=localhost"];
    openssl("server", &[&signed[..], &names[..]].concat());
    std::fs::write(home.join("hba"), "local all all trust\nhostssl all all 127.0.0.1/32 trust\n").unwrap();
    let file = |setting: &str, name: &str| format!("{setting}={}", home.join(name).display());
    vec![
        "ssl=on".to_owned(),
        file("ssl_cert_file", "server.pem"),
        file("ssl_key_file", "server.key"),
        file("hba_file", "hba"),
    ]
}

fn at(url: &Url, host: &str, query: &str) -> Url {
    let mut url = url.clone();
    url.set_host(Some(host)).unwrap();
    url.set_query(Some(query));
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_trusted_by_its_certificate_and_refused_by_name_and_reason() {
    let Some(cluster) = Cluster::create_with(certificates).await else { return };
    let mut shared = Shared::on(Database::create_on(cluster.url()).await).await;
    let url = shared.database.url.clone();
    let root = |name: &str| format!("sslrootcert={}", cluster.file(name).display());

    let trusted = at(&url, "localhost", &format!("sslmode=verify-full&{}", root("ca.pem")));
    let server = shared.start(shared.settings(&trusted, &["--rules", &shared.at("rules")]));
    assert_eq!(server.call("POST", "/runs/batch", Some(&batch(&[3]))).await.0, 202);
    within(POKED, "a notification", shared.receiver.next()).await;
    drop(server);

    for (host, query) in [
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("127.0.0.1", format!("sslmode=verify-ca&{}", root("ca.pem"))),
        ("127.0.0.1", String::new()),
    ] {
        let (code, said) = shared.command_at(&at(&url, host, &query), &["doctor"]);
        assert_eq!(code, 0, "{query}: {said}");
    }
    for (host, query, reason) in [
        ("localhost", format!("sslmode=verify-full&{}", root("other.pem")), "certificate"),
        ("localhost", format!("sslmode=verify-ca&{}", root("other.pem")), "certificate"),
        ("127.0.0.1", format!("sslmode=verify-full&{}", root("ca.pem")), "certificate not valid for name"),
        ("localhost", "sslmode=verify-full".to_owned(), "certificate"),
        ("localhost", format!("sslmode=verify-full&{}", root("absent.pem")), "absent.pem"),
        ("localhost", "sslmode=disable".to_owned(), "no encryption"),
    ] {
        for command in [&["doctor"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            let (code, said) = shared.command_at(&at(&url, host, &query), command);
            assert!(code != 0 && said.contains(reason), "{command:?} {query} {code}: {said}");
        }
    }
    // The cluster takes the database along.
}
