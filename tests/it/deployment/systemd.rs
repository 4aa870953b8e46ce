//! The unit of systemd: valid, confined, and in step with the binary.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::deployment::{are_read, deploy, stop_within, succeeds, text};
use crate::support::home::Home;
use crate::support::server::{Server, runhook};

/// The most that `systemd-analyze security` may hold against it, of 100: what is left is the network it is there for.
const EXPOSURE: &str = "15";

const PATIENCE: Duration = Duration::from_mins(1);

fn analyze() -> Command {
    let found = Command::new("systemd-analyze").arg("--version").output();
    assert!(found.is_ok(), "systemd-analyze is missing: `make systemd` installs it");
    Command::new("systemd-analyze")
}

/// The settings of a unit by name, in order.
fn settings<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    let setting = |line: &'a str| line.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value);
    unit.lines().filter_map(setting).collect()
}

fn variables(unit: &str) -> BTreeMap<String, String> {
    let pairs = settings(unit, "Environment").into_iter().map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The unit with the binary of this test in the place of the installed one, alone in a folder with its drop-in.
fn installed(folder: &Path) -> std::path::PathBuf {
    let unit = text("systemd/runhook.service");
    let installed = unit.replace("/usr/local/bin/runhook", env!("CARGO_BIN_EXE_runhook"));
    assert_ne!(installed, unit);
    let path = folder.join("runhook.service");
    std::fs::write(&path, installed).unwrap();
    std::fs::create_dir(folder.join("runhook.service.d")).unwrap();
    std::fs::copy(deploy("systemd/replica.conf"), folder.join("runhook.service.d/replica.conf")).unwrap();
    path
}

#[test]
fn systemd_takes_the_unit_with_its_drop_in_and_has_no_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let said = succeeds(analyze().args(["verify", "--man=no"]).arg(installed(folder.path())));
    assert_eq!(said, "");
}

#[test]
fn the_unit_is_confined_to_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let mut security = analyze();
    security.args(["security", "--offline=true", "--no-pager", &format!("--threshold={EXPOSURE}")]);
    succeeds(security.arg(installed(folder.path())));
}

#[test]
fn everything_the_unit_sets_is_read_and_it_waits_longer_than_a_stop_takes() {
    let (unit, replica) = (text("systemd/runhook.service"), text("systemd/replica.conf"));
    let example = text("systemd/runhook.env.example");
    let named = example.lines().filter_map(|line| line.trim_start_matches('#').split_once('='));
    let named: Vec<String> = named.map(|(name, _)| name.to_owned()).collect();
    assert!(named.iter().any(|name| name == "RUNHOOK_DATABASE_URL"), "{named:?}");
    are_read(&named, "runhook.env.example");
    for unit in [&unit, &replica] {
        are_read(variables(unit).keys(), "the unit");
    }
    let patience: u64 = settings(&unit, "TimeoutStopSec")[0].trim_end_matches('s').parse().unwrap();
    assert!(patience > stop_within());
    let (credential, _) = settings(&replica, "LoadCredential")[0].split_once(':').unwrap();
    assert_eq!(variables(&replica)["RUNHOOK_KEY_FILE"], format!("%d/{credential}"));
    let state = variables(&unit)["RUNHOOK_DATA_DIR"].replace("%S/", "");
    assert_eq!(settings(&unit, "StateDirectory"), [state], "the only place it may write to");
    let rules = variables(&unit)["RUNHOOK_RULES"].replace("%E/", "");
    let made: Vec<&str> = settings(&unit, "ConfigurationDirectory")[0].split(' ').collect();
    assert!(made.contains(&rules.as_str()), "a folder of rules that is not there stops the start");
}

#[tokio::test]
async fn the_service_says_when_it_takes_traffic_and_when_it_stops() {
    let home = Arc::new(Home::embedded());
    let unit = text("systemd/runhook.service");
    assert_eq!(settings(&unit, "Type"), ["notify"]);
    let place = |specifier: &str| home.path().join(specifier).display().to_string();
    for folder in ["S/runhook", "E/runhook/rules"] {
        std::fs::create_dir_all(home.path().join(folder)).unwrap();
    }
    // The mode that systemd gives it.
    std::fs::set_permissions(home.path().join("S/runhook"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let manager = UnixDatagram::bind(home.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = runhook();
    let started = settings(&unit, "ExecStart")[0].split(' ').skip(1);
    command.args(started).env("NOTIFY_SOCKET", home.path().join("notify")).env("RUNHOOK_LISTEN", "127.0.0.1:0");
    for (name, value) in variables(&unit) {
        command.env(name, value.replace("%S", &place("S")).replace("%E", &place("E")));
    }
    let server = Server::by(command, Arc::clone(&home)).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(heard(&manager), "READY=1");
    assert_eq!(server.call("GET", "/readyz", None).await.0, 200);
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    assert_eq!(heard(&manager), "STOPPING=1");
    let said: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(said["level"], "INFO", "the journal gets one JSON object a line");
}

fn heard(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 64];
    let length = manager.recv(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[test]
fn a_service_manager_may_listen_where_no_file_is() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("runhook-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let home = Arc::new(Home::embedded());
    let mut command = runhook();
    command.arg("serve").env("NOTIFY_SOCKET", format!("@{name}")).current_dir(home.path());
    command.env("RUNHOOK_LISTEN", "127.0.0.1:0");
    let server = Server::by(command, home).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(heard(&manager), "READY=1");
    drop(server);
}
