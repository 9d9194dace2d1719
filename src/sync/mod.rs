//! Sync: checkpoints from the clusters into a local folder, over SSH.

mod credentials;
mod host;
mod transport;
