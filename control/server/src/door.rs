//! Where calls come in: Unix sockets and TCP ports, opened before anything is served.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use model::{Listener, Tls};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::StartError;

/// An open listener.
pub(crate) enum Door {
    Unix(UnixListener, SocketFile),
    Tcp(TcpListener),
}

/// A socket's file, removed at the end unless another process has put its own there.
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::metadata(&self.path).is_ok_and(|it| it.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens a listener of `api.listen`.
///
/// # Errors
/// It is taken, or cannot be opened.
pub(crate) async fn open(listener: &Listener) -> Result<Door, StartError> {
    match listener {
        Listener::Unix(path) => unix(path).await,
        Listener::Tcp(address) => tcp("api.listen", *address).await.map(Door::Tcp),
    }
}

/// Opens a TCP port that `field` of the node file names.
///
/// # Errors
/// It is taken, or is no address of this host.
pub(crate) async fn tcp(field: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!(
                    "stop the process that `ss -ltnp sport = :{}` shows, or choose another port",
                    address.port()
                )
            }
            io::ErrorKind::AddrNotAvailable => {
                "write an address of this host, as `ip address` shows them".to_owned()
            }
            io::ErrorKind::PermissionDenied => "run as root, or choose a port of 1024 or more".to_owned(),
            _ => "choose another address".to_owned(),
        };
        let problem = match error.kind() {
            io::ErrorKind::AddrInUse => "taken by another process".to_owned(),
            _ => error.to_string(),
        };
        StartError::Socket { field, address: address.to_string(), problem, remedy }
    })
}

async fn unix(path: &Path) -> Result<Door, StartError> {
    let fault = |problem: String, remedy: &str| StartError::Socket {
        field: "api.listen",
        address: format!("unix://{}", path.display()),
        problem,
        remedy: remedy.to_owned(),
    };
    let other = "name another path in api.listen, or give this user that directory";
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| fault(format!("{}: {error}", parent.display()), other))?;
    }
    match fs::symlink_metadata(path) {
        Ok(it) if it.file_type().is_socket() => {
            match UnixStream::connect(path).await {
                Ok(stream) => {
                    let problem = format!("taken by {}", owner(&stream));
                    return Err(fault(problem, "stop it, or name another path in api.listen"));
                }
                // Nobody listens: the process that made it is gone.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(fault(error.to_string(), other)),
            }
        }
        Ok(_) => return Err(fault("there is a file that is no socket".to_owned(), "move it away")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fault(error.to_string(), other)),
    }
    // Bound beside its place and moved there with its mode set, so that it is never open to others.
    // The name is short: a socket's path has 107 octets at most, of which the node file may use 100.
    let beside = path.with_file_name(format!(".{}", std::process::id()));
    let _ = fs::remove_file(&beside);
    let bound = || -> io::Result<(UnixListener, u64)> {
        let listener = UnixListener::bind(&beside)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
        let inode = fs::metadata(&beside)?.ino();
        fs::rename(&beside, path)?;
        Ok((listener, inode))
    };
    match bound() {
        Ok((listener, inode)) => Ok(Door::Unix(listener, SocketFile { path: path.to_owned(), inode })),
        Err(error) => {
            let _ = fs::remove_file(&beside);
            Err(fault(error.to_string(), other))
        }
    }
}

/// Which process listens at the other end.
fn owner(stream: &UnixStream) -> String {
    match stream.peer_cred().ok().and_then(|it| it.pid()) {
        Some(pid) => {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("process {pid} {}", name.trim()).trim_end().to_owned()
        }
        None => "another process".to_owned(),
    }
}

/// Reads the files of `api.tls`: callers must show a certificate of `clientCa`.
///
/// # Errors
/// A file cannot be read, or holds no PEM.
pub(crate) fn tls(files: &Tls) -> Result<ServerTlsConfig, StartError> {
    let read = |field: &'static str, path: &Path, label: &str| {
        let fault =
            |problem: String, remedy: &str| StartError::Tls { field, problem, remedy: remedy.to_owned() };
        let text = fs::read_to_string(path).map_err(|error| {
            fault(format!("{}: {error}", path.display()), "write the path of a readable PEM file")
        })?;
        match text.contains(&format!("{label}-----")) {
            true => Ok(text),
            false => Err(fault(format!("{}: holds no {label} in PEM", path.display()), "write it as PEM")),
        }
    };
    let cert = read("api.tls.cert", &files.cert, "CERTIFICATE")?;
    let key = read("api.tls.key", &files.key, "PRIVATE KEY")?;
    let client_ca = read("api.tls.clientCa", &files.client_ca, "CERTIFICATE")?;
    Ok(ServerTlsConfig::new()
        .identity(Identity::from_pem(cert, key))
        .client_ca_root(Certificate::from_pem(client_ca)))
}
