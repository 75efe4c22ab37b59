//! Sockets: who may come in, who may not, and what a taken or wrong one says.

mod support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::v1::{GetRequest, config_client::ConfigClient};
use model::{Api, Listener, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use server::{Options, Server};
use support::*;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

async fn start(scratch: &Scratch, options: Options) -> Result<Server, String> {
    let store = scratch.store().map_err(|error| error.to_string())?;
    Server::start(options, store, FakeGateway::new(0)).await.map_err(|error| error.to_string())
}

async fn works(channel: Channel) -> Result<(), tonic::Status> {
    let mut stream = ConfigClient::new(channel).get(GetRequest::default()).await?.into_inner();
    stream.message().await.map(|_| ())
}

#[tokio::test]
async fn a_unix_socket_is_for_its_owner_only() {
    let scratch = Scratch::new();
    let path = scratch.join("run/sluice/api.sock");
    let server = start(&scratch, unix(&path)).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    works(channel(&path).await.unwrap()).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_socket_left_by_a_dead_process_is_replaced() {
    let scratch = Scratch::new();
    let path = scratch.join("api.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _server = start(&scratch, unix(&path)).await.unwrap();
    works(channel(&path).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_path_of_any_allowed_length_can_be_listened_on() {
    let scratch = Scratch::new();
    let room = 100 - scratch.0.as_os_str().len() - 1;
    for name in ["s".to_owned(), "x".repeat(room)] {
        let path = scratch.join(&name);
        let server = start(&scratch, unix(&path)).await.unwrap();
        works(channel(&path).await.unwrap()).await.unwrap();
        server.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_is_dropped_lets_go_of_its_sockets() {
    let scratch = Scratch::new();
    let path = scratch.join("api.sock");
    drop(start(&scratch, unix(&path)).await.unwrap());
    for _ in 0..100 {
        if !path.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the socket is still there");
}

#[tokio::test]
async fn a_taken_socket_is_refused_with_the_process_that_has_it() {
    let scratch = Scratch::new();
    let path = scratch.join("api.sock");
    let _held = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = start(&scratch, unix(&path)).await.map(|_| ()).unwrap_err();
    assert!(error.contains("api.listen") && error.contains("api.sock"), "{error}");
    assert!(error.contains(&format!("taken by process {}", std::process::id())), "{error}");
    assert!(path.exists(), "the other's socket stays");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "a file").unwrap();
    let error = start(&scratch, unix(&path)).await.map(|_| ()).unwrap_err();
    assert!(error.contains("no socket") && error.contains("move it away"), "{error}");
}

#[tokio::test]
async fn a_taken_port_is_refused_with_what_to_do() {
    let scratch = Scratch::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let error = start(&scratch, options(vec![Listener::Tcp(address)])).await.map(|_| ()).unwrap_err();
    assert!(
        error.starts_with(&format!("api.listen: {address}: taken")) && error.contains("ss -ltnp"),
        "{error}"
    );
    let mut both = unix(&scratch.join("api.sock"));
    both.metrics = Some(address);
    let error = start(&scratch, both).await.map(|_| ()).unwrap_err();
    assert!(error.starts_with(&format!("metrics: {address}: taken")), "{error}");
    assert!(!scratch.join("api.sock").exists(), "a start that failed leaves no socket");
}

#[tokio::test]
async fn loopback_is_plain_and_beyond_it_nothing_starts_without_tls() {
    let scratch = Scratch::new();
    let server = start(&scratch, options(vec![Listener::Tcp(loopback())])).await.unwrap();
    let uri = format!("http://{}", server.tcp_addresses()[0]);
    works(Endpoint::from_shared(uri).unwrap().connect().await.unwrap()).await.unwrap();
    server.stop().await;
    let beyond = Listener::Tcp("0.0.0.0:0".parse().unwrap());
    let error = start(&scratch, options(vec![beyond])).await.map(|_| ()).unwrap_err();
    assert!(error.starts_with("api.tls: missing"), "{error}");
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key, PEM.
    fn issue(&self, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut params = CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

/// Options of a TLS listener with a certificate of `authority`.
fn secured(scratch: &Scratch, authority: &Authority) -> Options {
    let (cert, key) = authority.issue(ExtendedKeyUsagePurpose::ServerAuth);
    let tls = Tls {
        cert: scratch.write("tls/cert.pem", &cert),
        key: scratch.write("tls/key.pem", &key),
        client_ca: scratch.write("tls/ca.pem", &authority.pem()),
    };
    let listen = vec![Listener::Tcp("0.0.0.0:0".parse().unwrap())];
    Options { api: Api { listen, tls: Some(tls) }, metrics: None }
}

async fn secure_channel(server: &Server, tls: ClientTlsConfig) -> Result<Channel, tonic::transport::Error> {
    let uri = format!("https://127.0.0.1:{}", server.tcp_addresses()[0].port());
    let endpoint = Endpoint::from_shared(uri).unwrap().tls_config(tls.domain_name("gateway.example"))?;
    endpoint.connect_timeout(Duration::from_secs(5)).connect().await
}

#[tokio::test]
async fn beyond_loopback_a_client_needs_a_certificate_of_the_named_authority() {
    let scratch = Scratch::new();
    let authority = Authority::new();
    let server = start(&scratch, secured(&scratch, &authority)).await.unwrap();
    let trust = || ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.pem()));
    let client = |authority: &Authority| {
        let (cert, key) = authority.issue(ExtendedKeyUsagePurpose::ClientAuth);
        trust().identity(Identity::from_pem(cert, key))
    };
    works(secure_channel(&server, client(&authority)).await.unwrap()).await.unwrap();
    // With TLS 1.3 the refusal arrives after the client believes to be connected.
    for tls in [trust(), client(&Authority::new())] {
        if let Ok(channel) = secure_channel(&server, tls).await {
            assert!(works(channel).await.is_err());
        }
    }
    let plain =
        Endpoint::from_shared(format!("http://127.0.0.1:{}", server.tcp_addresses()[0].port())).unwrap();
    if let Ok(channel) = plain.connect().await {
        assert!(works(channel).await.is_err());
    }
    works(secure_channel(&server, client(&authority)).await.unwrap()).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn tls_files_that_cannot_be_used_are_named_by_their_field() {
    let scratch = Scratch::new();
    let authority = Authority::new();
    let good = secured(&scratch, &authority).api.tls.unwrap();
    let missing = PathBuf::from("/nonexistent.pem");
    let text = scratch.write("tls/text.pem", "not PEM");
    let other = scratch.write("tls/other.pem", &KeyPair::generate().unwrap().serialize_pem());
    let cases = [
        (Tls { cert: missing.clone(), ..good.clone() }, "api.tls.cert: /nonexistent.pem"),
        (Tls { key: text.clone(), ..good.clone() }, "api.tls.key: "),
        (Tls { client_ca: text, ..good.clone() }, "api.tls.clientCa: "),
        (Tls { key: other, ..good }, "api.tls: "),
    ];
    for (tls, start_of_error) in cases {
        let listen = vec![Listener::Tcp(loopback())];
        let options = Options { api: Api { listen, tls: Some(tls) }, metrics: None };
        let error = start(&scratch, options).await.map(|_| ()).unwrap_err();
        assert!(error.starts_with(start_of_error), "{error}");
        assert!(error.contains("; write "), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_on_every_socket_do_nothing() {
    let scratch = Scratch::new();
    let path = scratch.join("api.sock");
    let mut options = unix(&path);
    options.api.listen.push(Listener::Tcp(loopback()));
    options.metrics = Some(loopback());
    let store = scratch.store().unwrap();
    let gateway = FakeGateway::new(0);
    let server = Server::start(options, store.clone(), gateway.clone()).await.unwrap();
    let before = gateway.published.lock().unwrap().len();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |length: usize| -> Vec<u8> {
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect()
    };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    for round in 0..60 {
        let mut bytes = random(1 + round * 37);
        if round % 3 == 0 {
            bytes = [preface.clone(), bytes].concat();
        }
        // The other end may close at any moment: that is one of the right answers.
        let _ = std::os::unix::net::UnixStream::connect(&path).unwrap().write_all(&bytes);
        for address in [server.tcp_addresses()[0], server.metrics_address().unwrap()] {
            let _ = std::net::TcpStream::connect(address).unwrap().write_all(&bytes);
        }
    }
    works(channel(&path).await.unwrap()).await.unwrap();
    let plain = Endpoint::from_shared(format!("http://{}", server.tcp_addresses()[0])).unwrap();
    works(plain.connect().await.unwrap()).await.unwrap();
    assert_eq!(gateway.published.lock().unwrap().len(), before);
    assert_eq!(store.counts(), [0, 0, 0]);
    server.stop().await;
}

#[tokio::test]
async fn what_the_gateway_cannot_hold_at_start_stops_the_start() {
    let scratch = Scratch::new();
    let gateway = FakeGateway::new(0);
    *gateway.refuse.lock().unwrap() = Some("no room".into());
    let store: Arc<server::Store> = scratch.store().unwrap();
    let started = Server::start(unix(&scratch.join("api.sock")), store, gateway).await;
    let error = started.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("LoadBalancer/web: spec.backends") && error.contains("no room"), "{error}");
    assert!(!scratch.join("api.sock").exists());
}
