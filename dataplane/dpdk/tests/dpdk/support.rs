//! One EAL for all tests, frames that can be told apart, and namespaces that vanish by themselves.

use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use dpdk::{
    Burst, Device, Eal, EalConfig, Hugepages, Level, Mempool, PoolConfig, PortConfig, RxQueue, Started,
    TxQueue,
};
use wire::PacketBuf;

/// DPDK on normal pages, initialised by whoever asks first.
pub(crate) fn eal() -> Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    *EAL.get_or_init(|| {
        let config = EalConfig {
            hugepages: Hugepages::Never,
            memory_mib: 2_048,
            log: Level::Warning,
            ..EalConfig::default()
        };
        Eal::init(&config, |level, line| eprintln!("{level:?}: {line}"))
            .expect("DPDK starts without hugepages or root")
    })
}

/// A pool whose threads keep nothing for themselves, so that its counts are exact at any time.
pub(crate) fn pool(name: &str, mbufs: u32) -> Mempool {
    pool_of(name, mbufs, PoolConfig::default().data_room)
}

pub(crate) fn pool_of(name: &str, mbufs: u32, data_room: u16) -> Mempool {
    let config = PoolConfig { name: name.into(), mbufs, data_room, cache: 0, ..PoolConfig::default() };
    Mempool::new(&eal(), &config).expect("there is memory for a small pool")
}

/// Starts a device with one queue each way.
pub(crate) fn start(devargs: &str, pool: &Mempool) -> Started {
    let device = Device::probe(&eal(), devargs).unwrap_or_else(|error| panic!("{error}"));
    device.start(&PortConfig::default(), pool).unwrap_or_else(|error| panic!("{error}"))
}

/// Ethernet's type for local experiments: the kernel leaves these frames alone.
const EXPERIMENT: [u8; 2] = [0x88, 0xb5];

/// A broadcast frame of `length` octets (60 at least) that says which one it is.
pub(crate) fn frame(number: u32, length: usize) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1]);
    frame.extend(EXPERIMENT);
    frame.extend(number.to_be_bytes());
    frame.extend((frame.len()..length.max(60)).map(|at| at as u8 ^ number as u8));
    frame
}

/// The numbers of the frames in a burst, each looked at octet by octet; the kernel's own chatter is skipped.
pub(crate) fn numbers(burst: &Burst) -> Vec<u32> {
    let ours = burst
        .as_slice()
        .iter()
        .map(PacketBuf::bytes)
        .filter(|bytes| bytes.get(12..14) == Some(&EXPERIMENT[..]));
    ours.map(|bytes| {
        let number = u32::from_be_bytes(bytes[14..18].try_into().unwrap());
        assert_eq!(bytes, frame(number, bytes.len()), "frame {number} was changed on its way");
        number
    })
    .collect()
}

/// Adds frames `numbers` to a burst.
pub(crate) fn put(burst: &mut Burst, pool: &Mempool, numbers: std::ops::Range<u32>, length: usize) {
    for number in numbers {
        put_bytes(burst, pool, &frame(number, length));
    }
}

pub(crate) fn put_bytes(burst: &mut Burst, pool: &Mempool, bytes: &[u8]) {
    let mut mbuf = pool.alloc().expect("the pool has buffers left");
    assert!(mbuf.set_len(bytes.len()), "{} octets fit", bytes.len());
    mbuf.bytes_mut().copy_from_slice(bytes);
    burst.push(mbuf).expect("the burst has room");
}

/// Sends frames until all are out. Fails after ten seconds.
pub(crate) fn send_all(tx: &mut TxQueue, pool: &Mempool, numbers: std::ops::Range<u32>, length: usize) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut burst = Burst::new();
    let mut next = numbers.start;
    while next < numbers.end || !burst.is_empty() {
        let until = numbers.end.min(next + (Burst::SIZE / 2 - burst.len().min(Burst::SIZE / 2)) as u32);
        put(&mut burst, pool, next..until, length);
        next = until;
        if tx.send(&mut burst) == 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
        assert!(Instant::now() < deadline, "{} frames are not out after 10 s", burst.len());
    }
}

/// Receives until `count` frames of ours came. Fails after ten seconds.
pub(crate) fn receive(rx: &mut RxQueue, count: usize) -> Vec<u32> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let (mut burst, mut seen) = (Burst::new(), Vec::new());
    while seen.len() < count {
        if rx.receive(&mut burst) == 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
        seen.extend(numbers(&burst));
        burst.clear();
        assert!(Instant::now() < deadline, "{} of {count} frames came in 10 s", seen.len());
    }
    seen
}

/// Runs in a thread with a network namespace of its own, which ends with the thread, whatever happens.
/// One at a time: devices find their sockets by looking at which are new in the process.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    eal();
    let thread = std::thread::spawn(|| {
        // SAFETY: changes the network namespace of the calling thread only.
        let code = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(code, 0, "network namespaces need root: {}", std::io::Error::last_os_error());
        // Otherwise the kernel sends router solicitations between our frames.
        let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        ip("link set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// `ip ARGUMENTS` in the namespace of the calling thread.
pub(crate) fn ip(arguments: &str) {
    run("ip", arguments);
}

pub(crate) fn run(program: &str, arguments: &str) {
    let output = Command::new(program).args(arguments.split(' ')).output();
    let output = output.unwrap_or_else(|error| panic!("{program} does not run: {error}"));
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A pair of veth interfaces, both up, and without checksum offload, which would hand over unfinished sums.
pub(crate) fn veth(near: &str, far: &str) {
    ip(&format!("link add {near} type veth peer name {far}"));
    for name in [near, far] {
        run("ethtool", &format!("-K {name} tx off"));
        ip(&format!("link set {name} up"));
    }
}
