//! HTTP: every route on this screen, one file per resource.
//!
//! Without accounts, and read only but for acts that need a token (`token`): `http.listen` is a loopback address unless
//! somebody decides otherwise. Answers hold plates, so nothing is cached by anyone (`headers`). Errors are RFC 9457 problem details ([`Problem`]), those of
//! the router included.
//!
//! Everything a page shows comes from the database or from the books of this process; nothing here is needed for a
//! reading to be stored, and a slow reader of these routes holds up nobody: one pool of its own, bounded streams
//! ([`MAX_STREAMS`]), pages with a limit.

mod cursor;
mod database;
mod dead_letters;
mod docs;
mod events;
mod headers;
mod health;
mod live;
mod openapi;
mod params;
mod passages;
mod problem;
mod raw;
pub mod readiness;
pub mod standing;
mod subject;
mod tail;
mod terminals;
mod token;
mod violations;
mod warnings;
mod zones;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, middleware};
use deadpool_postgres::Pool;
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use openapi::document;
pub use problem::Problem;
pub use token::WriteToken;

use crate::{
    console,
    judge::RuleBook,
    telemetry::{Books, metrics::Handle},
};

/// Server-sent event streams open at once, both kinds together: each is a task and a socket, and a control room has a
/// few screens.
pub const MAX_STREAMS: usize = 128;

/// How long answers under way may take to finish once the service stops.
const FINISH: Duration = Duration::from_secs(5);

/// What the service lends to its HTTP side.
#[derive(Clone)]
pub struct State {
    /// Connections for reads and for the few acts over HTTP; their statements are cut off after some seconds.
    pub pool: Pool,
    /// Whoever holds it may change something; `None`: nobody.
    pub write_token: Option<WriteToken>,
    pub books: Arc<Books>,
    pub metrics: Handle,
    /// Written by every part of the service, shown by `/readyz`.
    pub readiness: Arc<readiness::Board>,
    /// Notified (`notify_one`) by the relay when events got positions; without it streams look once a second.
    pub new_events: Arc<Notify>,
    /// What listed vehicles are barred from stands in here.
    pub rules: Arc<RuleBook>,
}

/// [`State`] and what the routes keep for themselves.
#[derive(Clone)]
struct App {
    state: State,
    streams: Arc<Semaphore>,
    tail: tail::Tail,
    live: Arc<live::Live>,
    stop: CancellationToken,
}

/// Every JSON and event-stream route, with its documentation.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::header())
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(events::list))
        .routes(routes!(events::stream))
        .routes(routes!(events::show))
        .routes(routes!(passages::list))
        .routes(routes!(violations::list))
        .routes(routes!(violations::show))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::show))
        .routes(routes!(zones::list))
        .routes(routes!(warnings::list, warnings::issue))
        .routes(routes!(warnings::lift))
        .routes(routes!(warnings::correct))
        .routes(routes!(warnings::withdraw))
        .routes(routes!(terminals::days))
        .routes(routes!(standing::show))
        .routes(routes!(live::snapshot))
        .routes(routes!(live::stream))
        .routes(routes!(openapi::show))
}

fn router(app: App) -> Router {
    let (api, _document) = routes().split_for_parts();
    api.merge(docs::routes())
        .merge(console::routes())
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), database::renew))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(headers::refuse_nul))
        .layer(middleware::from_fn(headers::set))
        .with_state(app)
}

/// The HTTP side while it runs. Dropped, it goes on serving; [`Running::stop`] ends it.
pub struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Where it really listens, also when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every stream, lets answers under way finish for a few seconds, and returns.
    pub async fn stop(self) {
        self.stop.cancel();
        match self.serving.await {
            Ok(Ok(())) => {}
            Ok(Err(failed)) => tracing::error!(error = %failed, "HTTP ended with an error"),
            Err(panicked) => tracing::error!(error = %panicked, "the HTTP side did not end by itself"),
        }
    }
}

/// Serves from now on. The listener is bound by the caller, who can fail early when the port is in use.
///
/// # Errors
/// The listener does not know its address.
pub fn serve(listener: TcpListener, state: State) -> io::Result<Running> {
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(run(listener, state, stop.clone()));
    Ok(Running { address, stop, serving })
}

async fn run(listener: TcpListener, state: State, stop: CancellationToken) -> io::Result<()> {
    let (tail, follow) = tail::start(state.pool.clone(), state.new_events.clone(), stop.clone());
    let (live, keep) = live::start(state.clone(), stop.clone());
    let app = App { state, streams: Arc::new(Semaphore::new(MAX_STREAMS)), tail, live, stop: stop.clone() };
    let serving =
        axum::serve(listener, router(app)).with_graceful_shutdown(stop.clone().cancelled_owned()).into_future();
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(FINISH).await;
    };
    let serving = async {
        tokio::select! {
            served = serving => served,
            () = overdue => {
                tracing::warn!(seconds = FINISH.as_secs(), "HTTP answers did not finish in time and were cut off");
                Ok(())
            }
        }
    };
    let ((), (), served) = tokio::join!(follow, keep, serving);
    served
}
