//! What can only be tried once a process: initialisation. One test, so that its steps have an order.

use std::sync::{Arc, Mutex};

use dpdk::{Eal, EalConfig, Error, Hugepages, Level, Memory, Mempool, PoolConfig};

#[test]
fn init_names_what_is_missing_before_it_tries_and_succeeds_once() {
    assert!(Eal::current().is_none());
    let sink = |_: Level, _: &str| {};

    // More than any machine has: known before anything is tried, so another attempt may follow.
    let config = EalConfig { hugepages: Hugepages::Required, memory_mib: 1 << 30, ..EalConfig::default() };
    let error = Eal::init(&config, sink).unwrap_err();
    assert!(matches!(error, Error::NoHugepages { wanted_mib, .. } if wanted_mib == 1 << 30), "{error:?}");
    assert!(error.remedy().contains("vm.nr_hugepages="), "{}", error.remedy());

    let lines = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&lines);
    let config = EalConfig { hugepages: Hugepages::Auto, memory_mib: 64, ..EalConfig::default() };
    let before = std::thread::available_parallelism().unwrap();
    let eal =
        Eal::init(&config, move |level, line| into.lock().unwrap().push((level, line.to_owned()))).unwrap();
    match eal.memory() {
        Memory::Hugepages => {}
        Memory::NormalPages { reason } => assert!(reason.contains("64 MiB wanted"), "{reason}"),
    }
    assert!(Eal::current().is_some());
    assert!(eal.version().starts_with("DPDK "), "{}", eal.version());
    assert!(!eal.sockets().is_empty());
    assert_eq!(
        std::thread::available_parallelism().unwrap(),
        before,
        "init leaves the calling thread's CPUs alone"
    );
    let there = std::thread::spawn(std::thread::available_parallelism).join().unwrap().unwrap();
    assert_eq!(there, before, "and those of threads made later");
    let lines = lines.lock().unwrap();
    assert!(lines.iter().any(|(level, line)| *level == Level::Info && line.contains("EAL")), "{lines:?}");

    let again = Eal::init(&config, sink).map(drop).unwrap_err();
    assert!(matches!(again, Error::AlreadyInitialised), "{again:?}");

    let most = PoolConfig { mbufs: u32::MAX, ..PoolConfig::default() };
    let error = Mempool::new(&eal, &most).map(drop).unwrap_err();
    assert!(error.to_string().contains("4294967295 packet buffers"), "{error}");
    assert_eq!(Mempool::new(&eal, &PoolConfig { mbufs: 63, ..most }).unwrap().available(), 63);

    let left = format!("/var/run/dpdk/sluice-{}", std::process::id());
    assert!(!std::path::Path::new(&left).exists(), "{left} is left behind");
}
