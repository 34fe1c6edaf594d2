//! A port: taking connections, TLS, slow clients, and the end.
//!
//! The end, asked for by SIGTERM or Ctrl-C, in order: `/ready` says no and every answer closes its connection, while connections are still
//! taken, so that what is on its way is answered; then no connection is taken any more, requests are finished, and the queue is worked off.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower_http::add_extension::AddExtension;

use crate::app::{App, app};
use crate::batcher::Worker;
use crate::error::ServeError;
use crate::routes::Peer;
use crate::settings::seconds;
use crate::tls;

/// Files that are open beside connections: models being read, logs, the listener.
const OTHER_FILES: usize = 64;

/// How long connections are still taken after the end was asked for.
const LAST_CALL: Duration = Duration::from_millis(500);

/// Bytes of a request's head.
const HEAD_BYTES: usize = 64 * 1024;

/// Where a server listens.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// The address, with the port that was taken.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub is_tls: bool,
}

/// Serves until SIGTERM or Ctrl-C; computes on the thread that calls it. `started` is told where, once requests are taken.
///
/// # Errors
/// [`ServeError`] if nothing can listen there, or requests were cut off at the end.
pub fn serve(shared: Arc<App>, worker: Worker, started: impl FnOnce(Bound) + Send + 'static) -> Result<(), ServeError> {
    let acceptor = tls::acceptor(&shared.settings.tls)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(crate::runtime_threads())
        .max_blocking_threads(4 * crate::runtime_threads())
        .thread_name("http")
        .enable_all()
        .build()?;
    let listening = std::thread::Builder::new().name("listener".to_owned()).spawn(move || {
        let stop = Arc::new(AtomicBool::new(false));
        let watcher = watch_models(&shared, &stop)?;
        let result = runtime.block_on(listen(shared, acceptor, started));
        stop.store(true, Relaxed);
        // What is still running then was cut off, and said so.
        runtime.shutdown_background();
        if let Some(watcher) = watcher
            && watcher.join().is_err()
        {
            tracing::error!("models were not watched to the end");
        }
        result
    })?;
    // Ends when the last of the others has let go of the queue.
    worker.run();
    let ended = listening.join();
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn watch_models(
    shared: &Arc<App>,
    stop: &Arc<AtomicBool>,
) -> Result<Option<std::thread::JoinHandle<()>>, std::io::Error> {
    let interval = seconds(shared.settings.reload.seconds);
    if interval.is_zero() {
        return Ok(None);
    }
    let (shared, stop) = (Arc::clone(shared), Arc::clone(stop));
    let watch = move || shared.registry.watch(interval, &shared.statistics, &stop);
    std::thread::Builder::new()
        .name("watcher".to_owned())
        .spawn(watch)
        .map(Some)
}

async fn listen(
    shared: Arc<App>,
    acceptor: Option<TlsAcceptor>,
    started: impl FnOnce(Bound),
) -> Result<(), ServeError> {
    let settings = &shared.settings;
    let wanted = (settings.host.as_str(), settings.port);
    let refused = |error: io::Error| ServeError::Listen {
        address: format!("{}:{}", settings.host, settings.port),
        reason: error.to_string(),
    };
    let listener = TcpListener::bind(wanted).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let mut signals = Signals::new()?;
    let server = Server {
        router: app(Arc::clone(&shared)),
        most: most_connections(settings.limits.connections),
        shared: Arc::clone(&shared),
        acceptor,
        graceful: GracefulShutdown::new(),
        ending: watch::Sender::new(false),
    };
    started(Bound {
        address,
        is_tls: server.acceptor.is_some(),
    });
    tokio::select! {
        () = server.accept(&listener) => {}
        () = signals.next() => {}
    }
    tracing::info!("ending: requests are finished");
    shared.is_ending.store(true, Relaxed);
    let end = Instant::now() + seconds(settings.shutdown.seconds);
    let last_call = async {
        let until = end.min(Instant::now() + LAST_CALL);
        while shared.connections.load(Relaxed) > 0 && Instant::now() < until {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = server.accept(&listener) => {}
        () = last_call => {}
    }
    server.accept_waiting(&listener).await;
    drop(listener);
    server.ending.send_replace(true);
    let finished = server.graceful.shutdown();
    let in_time = tokio::select! {
        in_time = async { tokio::time::timeout_at(end, finished).await.is_ok() } => in_time,
        () = signals.next() => false,
    };
    let requests = shared.in_flight.load(Relaxed);
    match in_time || requests == 0 {
        true => Ok(()),
        false => Err(ServeError::CutOff {
            requests,
            seconds: settings.shutdown.seconds,
        }),
    }
}

/// As many connections as wished, or as the system lets a process open.
fn most_connections(wished: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let files = line.and_then(|line| line.split_whitespace().nth(3)?.parse::<usize>().ok());
    match files {
        Some(files) => wished.min(files.saturating_sub(OTHER_FILES).max(1)),
        None => wished,
    }
}

struct Server {
    router: Router,
    shared: Arc<App>,
    most: usize,
    acceptor: Option<TlsAcceptor>,
    graceful: GracefulShutdown,
    /// Set when nothing is begun any more.
    ending: watch::Sender<bool>,
}

impl Server {
    /// Takes connections until it is dropped.
    async fn accept(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => {
                    // Out of files or memory, or a connection that was gone at once: the next may be better.
                    tracing::warn!(error = %error, "a connection could not be taken");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Takes the connections that have been made already.
    async fn accept_waiting(&self, listener: &TcpListener) {
        while let Ok(Ok((stream, peer))) = timeout(Duration::from_millis(1), listener.accept()).await {
            self.take(stream, peer);
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let open = Open::new(&self.shared);
        if open.number > self.most {
            refuse(&stream, self.acceptor.is_some());
            return;
        }
        // Answers are small and wanted at once. A system that cannot do that is slower, not wrong.
        let _ = stream.set_nodelay(true);
        let limits = &self.shared.settings.limits;
        let (head, body) = (seconds(limits.header_seconds), seconds(limits.body_seconds));
        let service = TowerToHyperService::new(AddExtension::new(self.router.clone(), Peer(peer)));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(head)
            .max_buf_size(HEAD_BYTES);
        let watcher = self.graceful.watcher();
        match self.acceptor.clone() {
            None => {
                let io = TokioIo::new(Impatient::new(stream, body));
                let connection = watcher.watch(http.serve_connection(io, service));
                tokio::spawn(async move {
                    end(connection.await, peer);
                    drop(open);
                });
            }
            Some(acceptor) => {
                let mut ending = self.ending.subscribe();
                tokio::spawn(async move {
                    let handshake = timeout(head, acceptor.accept(Impatient::new(stream, body)));
                    let stream = tokio::select! {
                        stream = handshake => stream,
                        _ = ending.wait_for(|ending| *ending) => return,
                    };
                    match stream {
                        Ok(Ok(stream)) => end(
                            watcher
                                .watch(http.serve_connection(TokioIo::new(stream), service))
                                .await,
                            peer,
                        ),
                        Ok(Err(error)) => tracing::debug!(%peer, error = %error, "no TLS"),
                        Err(_) => tracing::debug!(%peer, "TLS took too long"),
                    }
                    drop(open);
                });
            }
        }
    }
}

fn end(result: Result<(), hyper::Error>, peer: SocketAddr) {
    if let Err(error) = result {
        tracing::debug!(%peer, error = %error, "connection broke off");
    }
}

/// Answers a connection that is one too many, if its client can be told in plain words.
fn refuse(stream: &TcpStream, is_tls: bool) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n\
        Connection: close\r\nContent-Length: 62\r\n\r\n{\"error\":\"too many connections\",\"kind\":\"too_many_connections\"}";
    if !is_tls {
        // What does not go out at once does not go.
        let _ = stream.try_write(ANSWER);
    }
}

/// Counts a connection while it is open.
struct Open {
    shared: Arc<App>,
    number: usize,
}

impl Open {
    fn new(shared: &Arc<App>) -> Self {
        Self {
            number: shared.connections.fetch_add(1, Relaxed) + 1,
            shared: Arc::clone(shared),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Relaxed);
    }
}

/// A stream whose other side has to take what is written within a time.
struct Impatient<S> {
    stream: S,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            waiting: None,
        }
    }

    /// Passes on what a write says; one that has waited too long fails.
    fn judge<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judge(shut, context)
    }
}

/// What asks for the end.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        // Without a handler there is no end but the process's own.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
