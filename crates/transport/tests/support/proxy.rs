//! A wire that a test can freeze or slow down.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const PIECE_BYTES: usize = 64 << 10;

/// Carries connections to another address. While it is frozen they stay open, and nothing
/// passes.
pub(crate) struct Proxy {
    pub(crate) address: String,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    is_frozen: bool,
    /// For a piece of up to 64 KiB, each way.
    pause: Duration,
}

impl Proxy {
    pub(crate) async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (change, state) = watch::channel(State::default());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&target).await.unwrap();
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(carry(near_read, far_write, state.clone()));
                tokio::spawn(carry(far_read, near_write, state.clone()));
            }
        });
        Self { address, state: change }
    }

    pub(crate) fn freeze(&self) {
        self.state.send_modify(|state| state.is_frozen = true);
    }

    pub(crate) fn thaw(&self) {
        self.state.send_modify(|state| state.is_frozen = false);
    }

    pub(crate) fn slow_down(&self, bytes_per_second: f64) {
        let pause = Duration::from_secs_f64(PIECE_BYTES as f64 / bytes_per_second);
        self.state.send_modify(|state| state.pause = pause);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: watch::Receiver<State>) {
    let mut state = state;
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let Ok(count) = from.read(&mut buffer).await else { return };
        let Ok(now) = state.wait_for(|state| !state.is_frozen).await.map(|now| *now) else {
            return;
        };
        if !now.pause.is_zero() {
            tokio::time::sleep(now.pause.mul_f64(count as f64 / PIECE_BYTES as f64)).await;
        }
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
