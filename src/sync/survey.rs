//! What is on the clusters and what of it is missing here: known before a byte of a checkpoint moves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use super::breakers::Breakers;
use super::credentials::{self, Credentials, Permissions};
use super::error::{FetchError, SyncError};
use super::fetch::is_up_to_date;
use super::host::{Host, HostOptions};
use super::manifest::{Entry, Manifest, owners};
use super::options::{SyncOptions, TransportChoice};
use super::part;
use super::remote::{self, RemoteFile};
use super::sftp::{Sftp, SftpError};
use super::transport::{self, ConnectError, Transport};
use crate::progress::{Observer, Transfer};

/// Up to it one connection keeps a core busy, and more of them than cores only get in each other's way. From a longer
/// round trip on it is the windows of the connections that limit them.
const LONG_ROUND_TRIP: Duration = Duration::from_millis(10);

/// A cluster that answered.
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) sftp: Sftp,
    /// Connections at most.
    pub(crate) jobs: usize,
    /// Held as long as the cluster is; none where nothing is to be written.
    pub(crate) manifest: Option<Manifest>,
    /// What is here already.
    pub(crate) up_to_date: Vec<(RemoteFile, Entry)>,
    /// What is to be fetched.
    pub(crate) missing: Vec<RemoteFile>,
}

impl Cluster {
    /// The names of all files that come from it.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.missing.iter().chain(self.up_to_date.iter().map(|(file, _)| file)).map(|file| file.name.as_str())
    }
}

/// A file, or a cluster, that is not fetched from.
pub(crate) struct Refusal {
    pub(crate) cluster: String,
    /// The file's name, where it is about one.
    pub(crate) file: Option<String>,
    pub(crate) error: FetchError,
}

/// What is on the clusters.
#[derive(Default)]
pub(crate) struct Survey {
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) refusals: Vec<Refusal>,
}

/// Logs in to every cluster and compares what it has with what is here. Where `writes`, the manifests are locked.
pub(crate) fn survey(options: &SyncOptions, writes: bool, observer: Observer<'_>) -> Result<Survey, SyncError> {
    let pattern = glob::Pattern::new(&options.pattern)
        .map_err(|source| SyncError::Pattern { pattern: options.pattern.clone(), source })?;
    if options.clusters.is_empty() {
        return Err(SyncError::NoCluster);
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = options.clusters.iter().find(|name| !names.insert(name.as_str())) {
        return Err(SyncError::Twice { cluster: twice.clone() });
    }
    let mut manifests = BTreeMap::new();
    if writes {
        for name in options.clusters.iter().filter(|name| credentials::is_name(name)) {
            manifests.insert(name.as_str(), Manifest::open(&options.output, name)?);
        }
    }
    let breakers = Breakers::default();
    let found: Vec<Result<_, FetchError>> = std::thread::scope(|scope| {
        scope.spawn(|| breakers.watch(observer.cancel));
        let look = |name| look(name, options, &pattern, &breakers, observer);
        let looks: Vec<_> = options.clusters.iter().map(|name| scope.spawn(move || look(name))).collect();
        let found = looks
            .into_iter()
            .map(|look| look.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        breakers.end();
        found
    });
    if observer.cancel.is_cancelled() {
        return Err(SyncError::Cancelled);
    }
    let mut survey = Survey::default();
    for (name, found) in options.clusters.iter().zip(found) {
        match found {
            Ok(look) => survey.add(name, look, manifests.remove(name.as_str()), options),
            Err(error) => survey.refusals.push(Refusal { cluster: name.clone(), file: None, error }),
        }
    }
    survey.check_space(&options.output)?;
    Ok(survey)
}

/// A cluster's answer.
struct Look {
    host: Host,
    transport: Box<dyn Transport>,
    sftp: Sftp,
    listing: remote::Listing,
    round_trip: Duration,
}

fn look(
    name: &str,
    options: &SyncOptions,
    pattern: &glob::Pattern,
    breakers: &Breakers,
    observer: Observer<'_>,
) -> Result<Look, FetchError> {
    let permissions = if options.insecure_credentials { Permissions::Any } else { Permissions::Private };
    let credentials = Credentials::read(&options.credentials, name, permissions)?;
    let host = Host::resolve(
        &credentials,
        &HostOptions {
            known_hosts: options.known_hosts.clone(),
            ssh_config: options.ssh_config.clone(),
            accept_new: options.accept_new,
            timeout: options.timeout,
            home: options.home.clone(),
        },
    )?;
    let folder = options.remote_dir.clone().or(credentials.remote_dir.clone());
    let folder = folder.unwrap_or_else(|| format!("/home/{}/mapper_embeddings/embeddings", host.username));
    let (transport, mut sftp) = connect(&host, options, breakers, observer)?;
    let began = Instant::now();
    let address = host.display();
    let failed = |source| match source {
        SftpError::NotFound => FetchError::NoFolder { address: address.clone(), folder: folder.clone() },
        source => FetchError::Sftp { address: address.clone(), path: folder.clone(), source },
    };
    sftp.stat(&folder).map_err(failed)?;
    let round_trip = began.elapsed();
    let listing = remote::list(&mut sftp, &folder, pattern).map_err(failed)?;
    if listing.files.is_empty() && listing.refused.is_empty() {
        return Err(FetchError::NoFile { address, folder, pattern: options.pattern.clone() });
    }
    Ok(Look { host, transport, sftp, listing, round_trip })
}

/// The first connection. Where the choice is left to embstore and the first way cannot log in for want of a means that
/// the other has, the other one is taken.
fn connect(
    host: &Host,
    options: &SyncOptions,
    breakers: &Breakers,
    observer: Observer<'_>,
) -> Result<(Box<dyn Transport>, Sftp), FetchError> {
    let address = host.display();
    let start = |transport: Box<dyn Transport>| -> Result<_, ConnectError> {
        breakers.add(transport.interrupter());
        let connection = transport.connect()?;
        breakers.add(connection.breaker());
        let sftp = Sftp::start(connection, &address)?;
        Ok((transport, sftp))
    };
    let askpass = options.askpass.as_deref();
    let made = match options.transport {
        TransportChoice::OpenSsh => start(transport::openssh(host, askpass)?),
        TransportChoice::Ssh2 => start(transport::ssh2(host)?),
        TransportChoice::Auto if transport::has_openssh(host, askpass) => start(transport::openssh(host, askpass)?),
        TransportChoice::Auto => match start(transport::ssh2(host)?) {
            Err(error) if error.is_beyond_this_transport() => {
                let text = format!("{error}; trying the system's ssh");
                observer.progress.transfer(Transfer::Note { text: &text });
                start(transport::openssh(host, askpass)?)
            }
            made => made,
        },
    };
    Ok(made?)
}

impl Survey {
    fn add(&mut self, name: &str, look: Look, manifest: Option<Manifest>, options: &SyncOptions) {
        let Look { host, transport, sftp, listing, round_trip } = look;
        let address = host.display();
        let refuse = |file: &str, error| Refusal { cluster: name.into(), file: Some(file.into()), error };
        for (file, why) in listing.refused {
            let error = FetchError::NotTaken { address: address.clone(), name: file.clone(), why };
            self.refusals.push(refuse(&file, error));
        }
        let known = match &manifest {
            Some(manifest) => manifest.entries().clone(),
            None => Manifest::peek(&options.output, name),
        };
        let mut owners = owners(&options.output, name);
        owners
            .extend(self.clusters.iter().flat_map(|other| other.names().map(|file| (file.into(), other.name.clone()))));
        let disk_size = disk(&options.output).map_or(u64::MAX, |stat| stat.f_blocks.saturating_mul(stat.f_frsize));
        let (mut up_to_date, mut missing) = (Vec::new(), Vec::new());
        for file in listing.files {
            let entry = known.get(&file.name);
            if let Some(other) = owners.get(&file.name).cloned() {
                let error = FetchError::Collision { address: address.clone(), name: file.name.clone(), other };
                self.refusals.push(refuse(&file.name, error));
            } else if file.version.size > disk_size {
                let why = "claims a size that this disk could not hold";
                let error = FetchError::NotTaken { address: address.clone(), name: file.name.clone(), why };
                self.refusals.push(refuse(&file.name, error));
            } else if let Some(entry) = entry.filter(|_| is_up_to_date(&options.output, &file, entry, options.verify)) {
                up_to_date.push((file, entry.clone()));
            } else {
                missing.push(file);
            }
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let default_jobs = if round_trip > LONG_ROUND_TRIP { 8 } else { cores.clamp(2, 4) };
        let jobs = options.jobs.unwrap_or(default_jobs);
        self.clusters.push(Cluster {
            name: name.into(),
            address,
            transport,
            sftp,
            jobs,
            manifest,
            up_to_date,
            missing,
        });
    }

    /// Files to be fetched, their bytes, and how many of those have landed in an earlier run.
    pub(crate) fn to_come(&self, folder: &Path) -> (u64, u64, u64) {
        let mut sums = (0, 0u64, 0);
        for cluster in &self.clusters {
            for file in &cluster.missing {
                sums.0 += 1;
                sums.1 = sums.1.saturating_add(file.version.size);
                sums.2 += part::landed(folder, file, &cluster.address);
            }
        }
        sums
    }

    fn check_space(&self, folder: &Path) -> Result<(), SyncError> {
        let (_, bytes, landed) = self.to_come(folder);
        let needed = bytes.saturating_sub(landed);
        let Some(stat) = disk(folder) else { return Ok(()) };
        let available = stat.f_bavail.saturating_mul(stat.f_frsize);
        if needed > available {
            return Err(SyncError::NoSpace { folder: folder.to_path_buf(), needed, available });
        }
        Ok(())
    }
}

/// The disk of a folder, which may not have been made yet.
fn disk(folder: &Path) -> Option<rustix::fs::StatVfs> {
    let is_there = |folder: &&Path| folder.exists();
    let folder = folder.ancestors().map(|part| if part.as_os_str().is_empty() { Path::new(".") } else { part });
    rustix::fs::statvfs(folder.into_iter().find(is_there)?).ok()
}
