//! An engine: the store, the keys, the blobs and the API over a database, embedded or shared. No loop runs and no socket
//! is open; that is [`crate::app::Running`]'s.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::http::{Request, header};
use bytes::Bytes;
use tokio::sync::watch;
use tower::ServiceExt;
use url::Url;

use crate::api::auth::{Auth, InProcess};
use crate::api::native::keys::MARKER;
use crate::api::native::premises::{FolderState, Premises};
use crate::api::{self, Api};
use crate::app::premises::House;
use crate::app::storage::{Listening, Opened, Storage};
use crate::app::{DataDir, KeyFile, KeyFileError};
use crate::blob::{self, BlobError, BlobUrl, InvalidBlobUrl};
use crate::config::Config;
use crate::crypto::{self, Keyring};
use crate::delivery::lookup::SystemLookup;
use crate::delivery::{Client, Clients, Guard, Vetting};
use crate::ingest::Budget;
use crate::model::id::TenantId;
use crate::model::time::Clock;
use crate::store::{Store, StoreError};
use crate::task::{Poke, Status, Supervisor, TaskFailed};
use crate::telemetry::metrics;

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The keys are missing or wrong.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The database cannot be used.
    #[error("the database cannot be used")]
    Database(#[from] StoreError),
    /// Blob storage cannot be used.
    #[error("{place} cannot be used: {cause}")]
    Blobs {
        /// Which, without what may be secret in its URL.
        place: String,
        /// Why.
        cause: BlobError,
    },
    /// The blob URL is wrong.
    #[error(transparent)]
    BlobUrl(#[from] InvalidBlobUrl),
    /// No key file was named for a database that others share.
    #[error(
        "a database that replicas share needs a key file that all of them are given: make one with `runhook keys \
         generate --file FILE`, and name it with --key-file (RUNHOOK_KEY_FILE, key_file)"
    )]
    KeyFileNotNamed,
    /// The key file is not there, and none is made for a database that others share.
    #[error(
        "the key file {} is not there; replicas that share a database are given the same one: copy it here, or make the \
         first with `runhook keys generate --file {}`", .0.display(), .0.display()
    )]
    KeyFileNotGiven(PathBuf),
    /// No blob storage was named for a database that others share.
    #[error(
        "a database that replicas share needs storage for large values that all of them reach: give --blob-url \
         s3://BUCKET/PREFIX, or dir:PATH of a shared file system (RUNHOOK_BLOB_URL, blob_url)"
    )]
    BlobUrlNotNamed,
    /// The address it listens on does not make a URL.
    #[error("the listen address does not make a URL; set `public_url`")]
    NoUrl,
}

/// An engine over a database.
pub struct Engine {
    pub(super) api: Api,
    pub(super) place: Storage,
    pub(super) key_file: KeyFile,
    pub(super) scheduler_status: watch::Sender<Status>,
    pub(super) delivery_status: watch::Sender<Status>,
    pub(super) retention_status: watch::Sender<Status>,
    pub(super) folder_state: watch::Sender<Option<FolderState>>,
    /// Owns the store's writer, which outlives everyone who writes.
    pub(super) storage: Supervisor,
    /// Hears other replicas, in a process that stays.
    pub(super) listening: Option<Listening>,
    created_key_file: Option<PathBuf>,
    router: Router,
}

impl Engine {
    /// Opens the engine of a database. `url` is how it is reached, for links; the configured one when absent. `clock` is
    /// this machine's; on a database that replicas share, the database's has the last word.
    pub async fn open(
        config: &Config,
        place: Storage,
        url: Option<Url>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        given(config, &place)?;
        let (storage, database) = (Supervisor::default(), place.shown());
        let opened = place.open(&storage, clock).await.map_err(|error| named(&database, error.into()))?;
        let store = Arc::clone(&opened.store);
        let engine = Self::over(opened, storage.clone(), place, config, url).await;
        if engine.is_err() {
            storage.stop();
            store.close().await;
        }
        engine.map_err(|error| named(&database, error))
    }

    async fn over(
        opened: Opened,
        storage: Supervisor,
        place: Storage,
        config: &Config,
        url: Option<Url>,
    ) -> Result<Self, StartError> {
        let Opened { store, clock, listening } = opened;
        let blob_url = given(config, &place)?;
        let key_file = KeyFile::at(config.key_file());
        let (keyring, created) = unlock(&key_file, store.as_ref(), &place).await?;
        let keyring = Arc::new(keyring);
        let auth = Arc::new(Auth::default());
        auth.reload(store.as_ref()).await?;
        let public_url = base_url(config, url.as_ref())?;
        let blobs = blob::open(&blob_url, public_url.clone(), Arc::clone(&keyring))
            .await
            .map_err(|cause| unusable(&blob_url, cause))?;
        let (scheduler_status, scheduler) = watch::channel(Status::default());
        let (delivery_status, delivery) = watch::channel(Status::default());
        let (retention_status, retention) = watch::channel(Status::default());
        let (folder_state, rules_folder) = watch::channel(None);
        let vetting = vetting(config, url.as_ref());
        let api = Api {
            store,
            blobs,
            keyring: Arc::clone(&keyring),
            public_url,
            client: client(config, vetting.clone()),
            vetting,
            budget: Budget::new(&config.limits),
            limits: Arc::new(config.limits.clone()),
            prices: Arc::new(config.prices.clone()),
            trusted_proxies: config.trusted_proxies.clone().into(),
            auth,
            scheduler: Poke::default(),
            delivery: Poke::default(),
            alerts: Poke::default(),
            scheduler_status: scheduler,
            delivery_status: delivery,
            retention_status: retention,
            clock: Arc::clone(&clock),
            metrics: metrics::handle(),
        };
        let house = House {
            key_file: key_file.clone(),
            blob_directory: if let BlobUrl::Directory(path) = blob_url { Some(path) } else { None },
            data_dir: place.data_dir().map(|dir| dir.path().to_owned()),
            database: place.shown(),
            roles: config.roles.to_string(),
            started_at: clock.now(),
            rules_folder,
        };
        let router = api::router_for(api.clone(), &config.roles).layer(Extension(Arc::new(house) as Arc<dyn Premises>));
        let created_key_file = created.then(|| config.key_file());
        Ok(Self {
            api,
            place,
            key_file,
            scheduler_status,
            delivery_status,
            retention_status,
            folder_state,
            storage,
            listening,
            created_key_file,
            router,
        })
    }

    /// The key file that was made by this start, if it was.
    #[must_use]
    pub fn created_key_file(&self) -> Option<&Path> {
        self.created_key_file.as_deref()
    }

    /// The data directory, where there is one.
    #[must_use]
    pub fn data_dir(&self) -> Option<&Path> {
        self.place.data_dir().map(DataDir::path)
    }

    /// The API's routes.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Calls the API without a socket, as the owner of the data directory.
    pub async fn call(&self, method: &str, path: &str, body: Option<Bytes>) -> Result<(u16, Bytes), CallFailed> {
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let mut request =
            request.body(Body::from(body.unwrap_or_default())).map_err(|error| CallFailed(error.to_string()))?;
        request.extensions_mut().insert(InProcess);
        let response = match self.router().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        body.map(|body| (status, body)).map_err(|error| CallFailed(error.to_string()))
    }

    /// Proves that a write can be made durable now.
    pub async fn check_store(&self) -> Result<(), StoreError> {
        self.api.store.check_writable(self.api.clock.now()).await
    }

    /// Proves that blobs can be written.
    pub async fn check_blobs(&self) -> Result<(), BlobError> {
        self.api.blobs.check().await
    }

    /// Looks at the bucket before anything needs it, where blobs are in one. A bucket that refuses is a mistake, told at
    /// the start; one that does not answer may do so later, and small values are taken meanwhile.
    pub(super) async fn look_at_bucket(&self, config: &Config) -> Result<(), StartError> {
        if self.api.blobs.as_directory().is_some() {
            return Ok(());
        }
        match self.check_blobs().await {
            Ok(()) => Ok(()),
            Err(cause @ BlobError::Refused(_)) => Err(unusable(&given(config, &self.place)?, cause)),
            Err(error) => {
                tracing::warn!(%error, "large values are answered 503 until this is right; small ones are taken");
                Ok(())
            }
        }
    }

    /// What may be shown of the endpoints' URLs.
    pub async fn shown_endpoints(&self) -> Result<Vec<String>, StoreError> {
        let endpoints = self.api.store.list_endpoints(TenantId::DEFAULT).await?;
        Ok(endpoints.into_iter().map(|endpoint| endpoint.shown.url).collect())
    }

    /// Finishes what is queued and closes the database. An error when the writer had died before.
    pub async fn close(self) -> Result<(), TaskFailed> {
        self.storage.stop();
        self.api.store.close().await;
        self.storage.finished(std::future::pending()).await
    }
}

/// A call without a socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the call could not be made: {0}")]
pub struct CallFailed(String);

/// How long a lookup of an endpoint's host may take.
const LOOKUP: Duration = Duration::from_secs(3);

/// The one client of this process, made when it is first asked for: most commands send nothing.
fn client(config: &Config, vetting: Vetting) -> Clients {
    let (proxy, response_bytes) = (config.egress_proxy.clone(), config.limits.response_bytes);
    let made: OnceLock<Client> = OnceLock::new();
    Arc::new(move || {
        if let Some(client) = made.get() {
            return Ok(client.clone());
        }
        let client = Client::through(proxy.as_ref(), vetting.clone(), response_bytes)?;
        Ok(made.get_or_init(|| client).clone())
    })
}

/// What may be sent to: never the place where this process listens itself.
fn vetting(config: &Config, url: Option<&Url>) -> Vetting {
    let own = url.and_then(|url| {
        let ip = url.host_str()?.trim_matches(['[', ']']).parse().ok()?;
        Some(SocketAddr::new(ip, url.port_or_known_default()?))
    });
    let own = own.into_iter().collect();
    let guard = Arc::new(Guard::new(config.allow_targets.clone()));
    let public = config.public_url.clone();
    Vetting { guard, own, public, lookup: Arc::new(SystemLookup), budget: LOOKUP }
}

/// Where blobs are. Replicas that share a database are given what an embedded server makes for itself.
fn given(config: &Config, place: &Storage) -> Result<BlobUrl, StartError> {
    if place.data_dir().is_none() {
        let key_file = config.key_file.as_ref().ok_or(StartError::KeyFileNotNamed)?;
        if !key_file.exists() {
            return Err(StartError::KeyFileNotGiven(key_file.clone()));
        }
    }
    match (&config.blob_url, place.data_dir()) {
        (Some(text), _) => Ok(text.parse()?),
        (None, Some(data_dir)) => Ok(BlobUrl::Directory(data_dir.blobs())),
        (None, None) => Err(StartError::BlobUrlNotNamed),
    }
}

/// Reads the keys and checks them against the database's marker; makes the marker at the first start, and the key file
/// if it may. Whether it made the key file.
async fn unlock(key_file: &KeyFile, store: &dyn Store, place: &Storage) -> Result<(Keyring, bool), StartError> {
    let marker = store.marker(MARKER).await?;
    let create = place.data_dir().is_some() && marker.is_none() && !key_file.exists();
    let keyring = if create { key_file.create(&Keyring::line(1, &crypto::random())) } else { key_file.read() }?;
    let wrong = |error| StartError::Keys(key_file.wrong(error));
    if marker.is_none() {
        let marker = keyring.marker().map_err(wrong)?;
        store.set_marker(MARKER, &marker).await?;
    }
    // Read again even if it was made just now: another replica may have started first with other keys.
    if let Some(marker) = store.marker(MARKER).await? {
        keyring.check_marker(&marker).map_err(wrong)?;
    }
    Ok((keyring, create))
}

/// A database that fails is named, and what else is wrong with it is for the doctor.
fn named(database: &str, error: StartError) -> StartError {
    let why = match error {
        StartError::Database(StoreError::Internal(source)) => format!("{database} fails: {source}"),
        StartError::Database(StoreError::Unavailable(source)) => format!("{database} does not answer: {source}"),
        other => return other,
    };
    StartError::Database(StoreError::Unusable(format!("{why}; `runhook doctor` looks at all of it")))
}

/// Proves that the bucket of a configuration can be written, with nothing else of an engine. None if it names no bucket.
pub async fn check_bucket(config: &Config) -> Option<Result<(), StartError>> {
    let url: BlobUrl = match config.blob_url.as_ref()?.parse() {
        Ok(url) => url,
        Err(error) => return Some(Err(StartError::BlobUrl(error))),
    };
    let BlobUrl::S3(settings) = &url else { return None };
    let checked = match blob::open_bucket(settings).await {
        Ok(bucket) => bucket.check().await,
        Err(error) => Err(error),
    };
    Some(checked.map_err(|cause| unusable(&url, cause)))
}

fn unusable(place: &BlobUrl, cause: BlobError) -> StartError {
    StartError::Blobs { place: shown(place), cause }
}

pub(super) fn shown(place: &BlobUrl) -> String {
    match place {
        BlobUrl::Directory(path) => format!("the directory of blobs {}", path.display()),
        BlobUrl::S3(settings) => format!("the bucket `{}`", settings.bucket),
    }
}

/// How receivers reach this server: as configured, or else where it listens.
fn base_url(config: &Config, url: Option<&Url>) -> Result<Url, StartError> {
    let listen = || Url::parse(&format!("http://{}", config.listen)).ok();
    config.public_url.clone().or_else(|| url.cloned()).or_else(listen).ok_or(StartError::NoUrl)
}
