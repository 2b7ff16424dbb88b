//! One HTTP connection, one request at a time.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Why there is no reply.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HttpError {
    /// Nothing was sent.
    #[error("cannot connect: {reason}")]
    NotConnected {
        /// Why.
        reason: String,
    },
    /// The request may have arrived.
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    /// The request may have arrived.
    #[error("no reply in time")]
    TooLate,
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// A connection to a node.
pub struct HttpConnection(SendRequest<Full<Bytes>>);

impl HttpConnection {
    /// Connects.
    ///
    /// # Errors
    /// [`HttpError::NotConnected`].
    pub async fn open(address: SocketAddr, deadline: Duration) -> Result<Self, HttpError> {
        let opening = async {
            let stream = TcpStream::connect(address).await.map_err(not_connected)?;
            // Only speed is lost without it.
            let _ = stream.set_nodelay(true);
            let (sender, connection) =
                handshake(TokioIo::new(stream)).await.map_err(not_connected)?;
            // Ends with the sender; its error is also that of the request.
            tokio::spawn(async move { drop(connection.await) });
            Ok(Self(sender))
        };
        match timeout(deadline, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(HttpError::NotConnected { reason: "not in time".to_owned() }),
        }
    }

    /// Sends a request and reads its reply. After an error the connection is of no use.
    ///
    /// # Errors
    /// [`HttpError::Broken`] or [`HttpError::TooLate`].
    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        deadline: Duration,
    ) -> Result<Reply, HttpError> {
        let sending = async {
            let response = self.0.send_request(request).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes();
            Ok(Reply { status, body })
        };
        timeout(deadline, sending).await.map_err(|_| HttpError::TooLate)?
    }

    /// Reads what is at a path, over a connection of its own.
    ///
    /// # Errors
    /// Any [`HttpError`].
    pub async fn get(
        address: SocketAddr,
        path: &str,
        deadline: Duration,
    ) -> Result<Reply, HttpError> {
        let mut connection = Self::open(address, deadline).await?;
        let request = Request::get(path).header("host", address.to_string());
        let request = request.body(Full::default()).map_err(not_connected)?;
        connection.send(request, deadline).await
    }
}

fn not_connected(error: impl std::fmt::Display) -> HttpError {
    HttpError::NotConnected { reason: error.to_string() }
}
