//! A running engine: the listener, the loops, and the way they stop.
//!
//! Stopping has two steps. The soft one stops taking requests and claiming work, and lets what has begun finish; the
//! hard one drops it. What is dropped is not lost: it is rows, and the next start goes on with them.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio::sync::watch;
use url::Url;
use uuid::Uuid;

use crate::alert::{self, Watcher};
use crate::api::audit::By;
use crate::api::native::api_keys;
use crate::app::news::News;
use crate::app::rules_folder::{FolderError, RulesFolder, Variables};
use crate::app::storage::Pokes;
use crate::app::{DataDirError, Engine, StartError, Storage};
use crate::config::{self, Config, Role};
use crate::crypto;
use crate::delivery::{self, Conduct, Sender};
use crate::model::id::TenantId;
use crate::model::scope::Scopes;
use crate::model::time::Clock;
use crate::retention::{self, Keeper};
use crate::scheduler::{self, Scheduler};
use crate::store::{OutboxStore, StoreError};
use crate::task::{self, Activity, Poke, Status, Supervisor, TaskFailed};
use crate::telemetry::metrics;

/// Why a server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory is not to be had.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The engine does not open.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The address is not to be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Everyone who reaches the address could read and change everything.
    #[error(
        "{0} is reachable from other machines and there is no API key; make one with `runhook api-keys create` or give \
         one as RUNHOOK_API_KEY"
    )]
    Open(SocketAddr),
    /// The API key given at the start could not be stored.
    #[error("the API key could not be stored")]
    Seed(#[from] StoreError),
    /// The key given is too short to be one.
    #[error("the API key is too short: give at least {} characters", api_keys::SHORTEST)]
    ShortKey,
    /// The client of the delivery loop could not be made.
    #[error(transparent)]
    Client(#[from] delivery::client::ClientError),
    /// The folder of rules cannot be watched.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The folder of rules could not be applied.
    #[error("the folder of rules could not be applied")]
    Rules(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A newer version has changed the schema under it.
    #[error("{0}")]
    Outdated(String),
    /// A task ended on its own.
    #[error(transparent)]
    Task(#[from] TaskFailed),
}

/// What a start needs.
pub struct Start<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// An API key to accept from now on.
    pub seed: Option<&'a SecretString>,
    /// What `${NAME}` in the folder of rules stands for.
    pub variables: Variables,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// A running engine.
pub struct Running {
    engine: Engine,
    supervisor: Supervisor,
    url: Url,
    /// Why the database is no longer for this process.
    outdated: watch::Sender<Option<String>>,
}

impl Running {
    /// Takes the database, binds the address, opens the engine, applies the folder of rules and starts the loops, as far
    /// as the roles go. A run that is sent when this has returned meets the rules of the folder.
    pub async fn start(start: Start<'_>) -> Result<Self, ServeError> {
        let config = start.config;
        let place = Storage::take(config)?;
        let failed = |source| ServeError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let url = Url::parse(&format!("http://{address}")).map_err(|_| failed(io::Error::other("it makes no URL")))?;
        let engine = Engine::open(config, place, Some(url.clone()), Arc::clone(&start.clock)).await?;
        // The engine's clock may be another than this machine's.
        let start = Start { clock: Arc::clone(&engine.api.clock), ..start };
        let outdated = watch::Sender::new(None);
        let mut running = Self { engine, supervisor: Supervisor::default(), url, outdated };
        match running.prepare(&start, address).await {
            Ok(client) => {
                running.start_loops(config, &start.clock, client);
                running.start_http(listener);
                Ok(running)
            }
            Err(error) => {
                if let Err(also) = running.stop(std::future::ready(())).await {
                    tracing::error!(error = %also, "the engine did not close as it should");
                }
                Err(error)
            }
        }
    }

    /// Everything about an open engine that can still keep a server from starting.
    async fn prepare(&mut self, start: &Start<'_>, address: SocketAddr) -> Result<delivery::Client, ServeError> {
        if let Some(key) = start.seed {
            accept(&self.engine, key, start.clock.as_ref()).await?;
        }
        if self.engine.api.auth.is_open() && !address.ip().is_loopback() {
            return Err(ServeError::Open(address));
        }
        self.engine.look_at_bucket(start.config).await?;
        let client = (self.engine.api.client)()?;
        match &start.config.rules {
            Some(folder) if start.config.roles.has(Role::Api) => {
                self.keep_to(folder, Arc::clone(&start.variables), &start.clock).await?;
            }
            Some(_) => tracing::info!("the folder of rules is left to replicas with the role api"),
            None => {}
        }
        if let Storage::Embedded(data_dir) = &mut self.engine.place {
            let url = self.url.as_str().trim_end_matches('/').to_owned();
            data_dir.announce(Some(url)).map_err(|source| ServeError::Listen { address, source })?;
        }
        Ok(client)
    }

    /// Where it serves.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Who owns its tasks.
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Resolves when a task ended that should not have, or when the database is no longer for this process.
    pub async fn failed(&self) {
        let (loops, storage) = (self.supervisor.soft(), self.engine.storage.soft());
        let mut outdated = self.outdated.subscribe();
        tokio::select! {
            () = loops.cancelled() => {}
            () = storage.cancelled() => {}
            _ = outdated.wait_for(Option::is_some) => {}
        }
    }

    /// Stops: lets what has begun finish until `give_up` resolves, then closes the database. Where the database is no
    /// longer for this process, what has begun is dropped.
    pub async fn stop(self, give_up: impl Future<Output = ()>) -> Result<(), ServeError> {
        let mut outdated = self.outdated.subscribe();
        let give_up = async {
            tokio::select! {
                () = give_up => {}
                _ = outdated.wait_for(Option::is_some) => {}
            }
        };
        self.supervisor.stop();
        let finished = self.supervisor.finished(give_up).await;
        let closed = self.engine.close().await;
        match self.outdated.send_replace(None) {
            Some(why) => Err(ServeError::Outdated(why)),
            None => Ok(finished.and(closed)?),
        }
    }

    async fn keep_to(&self, folder: &Path, variables: Variables, clock: &Arc<dyn Clock>) -> Result<(), ServeError> {
        let poke = Poke::default();
        let (api, state) = (self.engine.api.clone(), self.engine.folder_state.clone());
        let mut folder = RulesFolder::watch(api, folder, variables, poke.clone(), state)?;
        folder.pass().await.map_err(ServeError::Rules)?;
        let (status, _unseen) = watch::channel(Status::default());
        self.supervisor
            .spawn("rules folder", task::run(folder, poke, Arc::clone(clock), status, self.supervisor.soft()));
        Ok(())
    }

    fn start_loops(&mut self, config: &Config, clock: &Arc<dyn Clock>, client: delivery::Client) {
        if config.roles.has(Role::Scheduler) {
            self.start_scheduler(clock);
            self.start_alerts(clock);
            self.start_retention(config, clock);
        }
        if config.roles.has(Role::Delivery) {
            self.start_delivery(config, clock, client);
        }
        self.start_listening(clock);
        self.supervisor.spawn("metrics", upkeep(self.supervisor.clone()));
    }

    fn start_scheduler(&self, clock: &Arc<dyn Clock>) {
        let api = &self.engine.api;
        let scheduler = Scheduler::new(scheduler::Parts {
            store: Arc::clone(&api.store),
            blobs: Arc::clone(&api.blobs),
            clock: Arc::clone(clock),
            limits: (*api.limits).clone(),
            delivery: api.delivery.clone(),
            poke: api.scheduler.clone(),
            instance: Uuid::from_bytes(crypto::random()),
        });
        let (poke, status) = (api.scheduler.clone(), self.engine.scheduler_status.clone());
        self.supervisor
            .spawn("scheduler", task::run(scheduler, poke, Arc::clone(clock), status, self.supervisor.soft()));
    }

    fn start_alerts(&self, clock: &Arc<dyn Clock>) {
        let api = &self.engine.api;
        let watcher = Watcher::new(alert::Parts {
            store: Arc::clone(&api.store),
            clock: Arc::clone(clock),
            delivery: api.delivery.clone(),
            public_url: api.public_url.clone(),
        });
        let (status, _unseen) = watch::channel(Status::default());
        let (poke, soft) = (api.alerts.clone(), self.supervisor.soft());
        self.supervisor.spawn("alerts", task::run(watcher, poke, Arc::clone(clock), status, soft));
    }

    fn start_retention(&self, config: &Config, clock: &Arc<dyn Clock>) {
        let api = &self.engine.api;
        let keeper = Keeper::new(retention::Parts {
            store: Arc::clone(&api.store),
            blobs: Arc::clone(&api.blobs),
            clock: Arc::clone(clock),
            retention: config.retention,
        });
        let (status, soft) = (self.engine.retention_status.clone(), self.supervisor.soft());
        self.supervisor.spawn("retention", task::run(keeper, Poke::default(), Arc::clone(clock), status, soft));
    }

    fn start_delivery(&self, config: &Config, clock: &Arc<dyn Clock>, client: delivery::Client) {
        let config::Endpoints { disable_after, notices } = config.endpoints.clone();
        let api = &self.engine.api;
        let sender = Sender::new(delivery::Parts {
            store: Arc::clone(&api.store) as Arc<dyn OutboxStore>,
            blobs: Arc::clone(&api.blobs),
            keyring: Arc::clone(&api.keyring),
            clock: Arc::clone(clock),
            limits: Arc::clone(&api.limits),
            client,
            patience: delivery::patience,
            conduct: Conduct { disable_after, notices },
            poke: api.delivery.clone(),
            instance: Uuid::from_bytes(crypto::random()),
        });
        let (poke, status) = (api.delivery.clone(), self.engine.delivery_status.clone());
        self.supervisor.spawn("delivery", task::run(sender, poke, Arc::clone(clock), status, self.supervisor.soft()));
    }

    /// Where others write too, hears and looks for what they wrote.
    fn start_listening(&mut self, clock: &Arc<dyn Clock>) {
        let Some(listening) = self.engine.listening.take() else { return };
        let api = &self.engine.api;
        let pokes = Pokes { scheduler: api.scheduler.clone(), delivery: api.delivery.clone() };
        self.supervisor.spawn("listening", listening(pokes, self.supervisor.soft()));
        let news = News { api: api.clone(), key_file: self.engine.key_file.clone(), outdated: self.outdated.clone() };
        let (status, _unseen) = watch::channel(Status::default());
        let soft = self.supervisor.soft();
        self.supervisor.spawn("news", task::run(news, Poke::default(), Arc::clone(clock), status, soft));
    }

    fn start_http(&self, listener: TcpListener) {
        let soft = self.supervisor.soft();
        // The audit log tells where a request came from.
        let service = self.engine.router().into_make_service_with_connect_info::<SocketAddr>();
        let server = axum::serve(listener, service).with_graceful_shutdown(soft.cancelled_owned());
        self.supervisor.spawn("http", async move {
            if let Err(error) = server.await {
                tracing::error!(error = %error, "the listener failed");
            }
        });
    }
}

async fn upkeep(supervisor: Supervisor) {
    let soft = supervisor.soft();
    let mut ticks = tokio::time::interval(metrics::UPKEEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => metrics::upkeep(),
            () = soft.cancelled() => return,
        }
    }
}

/// Makes a key of the environment one of the valid ones.
async fn accept(engine: &Engine, key: &SecretString, clock: &dyn Clock) -> Result<(), ServeError> {
    let key = key.expose_secret().trim();
    if key.len() < api_keys::SHORTEST {
        return Err(ServeError::ShortKey);
    }
    let record = api_keys::record(TenantId::DEFAULT, "RUNHOOK_API_KEY", Scopes::all(), key, clock.now());
    let told = api_keys::made(&engine.api, &By::server(), &record);
    engine.api.store.put_api_key(record, Some(told)).await?;
    engine.api.auth.reload(engine.api.store.as_ref()).await?;
    Ok(())
}
