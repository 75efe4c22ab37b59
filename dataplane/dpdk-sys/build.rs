//! Finds the system's DPDK by pkg-config, compiles the shim against it and has bindgen read
//! the functions named below. Nothing is pinned to a release: what differs between them is
//! kept inside the shim, and a missing function shows as a compile error that names it.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The oldest release whose headers the shim is written against.
const OLDEST: &str = "22.11";

/// What is called directly. Of the 60 libraries that pkg-config names no more are needed, and
/// drivers are plug-ins that EAL loads by itself: only `net_ring` has a function of its own.
const LIBRARIES: &[&str] = &["rte_eal", "rte_ethdev", "rte_mbuf", "rte_mempool", "rte_ring", "rte_net_ring"];

/// The functions that Rust calls as they are; the static inlines come from the shim.
const FUNCTIONS: &[&str] = &[
    "rte_eal_init",
    "rte_eal_get_runtime_dir",
    "rte_version",
    "rte_log_set_global_level",
    "rte_thread_register",
    "rte_thread_unregister",
    "rte_socket_count",
    "rte_socket_id_by_idx",
    "rte_get_tsc_hz",
    "rte_dev_probe",
    "rte_dev_remove",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_dev_close",
    "rte_eth_dev_get_port_by_name",
    "rte_eth_dev_get_mtu",
    "rte_eth_dev_rx_intr_ctl_q_get_fd",
    "rte_eth_dev_set_mtu",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_from_rings",
    "rte_eth_promiscuous_disable",
    "rte_eth_promiscuous_enable",
    "rte_eth_promiscuous_get",
    "rte_eth_stats_reset",
    "rte_eth_xstats_get",
    "rte_eth_xstats_get_names",
    "rte_mempool_avail_count",
    "rte_mempool_in_use_count",
    "rte_pktmbuf_pool_create",
    "rte_ring_create",
    "rte_ring_free",
    "shim_.*",
];

/// The structures that are read as they are. Nothing they or the functions refer to is followed:
/// what is seen through pointers only is opaque, and `rte_mbuf` is written by hand, in `src/lib.rs`.
const TYPES: &[&str] = &["rte_eth_xstat", "rte_eth_xstat_name", "shim_.*"];

fn main() {
    for path in ["build.rs", "csrc/shim.h", "csrc/shim.c"] {
        println!("cargo:rerun-if-changed={path}");
    }
    link();
    let cflags = cflags();

    let mut cc = cc::Build::new();
    cc.file("csrc/shim.c").include("csrc").warnings(false).opt_level(3);
    for flag in &cflags {
        cc.flag(flag);
    }
    if let Err(error) = cc.try_compile("sluice_dpdk_shim") {
        panic!(
            "the DPDK shim does not compile: install the Debian packages `gcc`, `libc6-dev` and `libdpdk-dev` ({error})"
        );
    }

    let mut builder = bindgen::Builder::default()
        .header("csrc/shim.h")
        .clang_args(&cflags)
        .allowlist_recursively(false)
        .allowlist_var("SHIM_.*")
        .allowlist_var("RTE_LOG_(ERR|WARNING|NOTICE|INFO|DEBUG)")
        .allowlist_var("RING_F_S[PC]_(EN|DE)Q")
        .allowlist_var("RTE_(PKTMBUF_HEADROOM|MBUF_DEFAULT_BUF_SIZE|MEMPOOL_CACHE_MAX_SIZE)")
        .prepend_enum_name(false)
        .derive_default(true)
        // Indented lines of DPDK's comments would be taken for examples to run.
        .generate_comments(false)
        .merge_extern_blocks(true)
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()));
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    // libclang is loaded now, and bindgen panics when there is none.
    let generated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.generate()));
    let bindings = match generated {
        Ok(Ok(bindings)) => bindings,
        Err(_) => panic!(
            "libclang does not load: install the Debian packages `libclang1-14` and `libclang-common-14-dev` \
             (or newer ones of one version)"
        ),
        Ok(Err(error)) => panic!(
            "bindgen could not read DPDK's headers: install the Debian packages `libclang1-14`, \
             `libclang-common-14-dev` (or newer ones of one version) and `libdpdk-dev` ({error})"
        ),
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("bindings.rs");
    bindings.write_to_file(&out).unwrap_or_else(|error| panic!("cannot write {}: {error}", out.display()));
}

/// Finds the libraries and has them linked.
fn link() {
    let found = pkg_config::Config::new().atleast_version(OLDEST).cargo_metadata(false).probe("libdpdk");
    let dpdk = match found {
        Ok(dpdk) => dpdk,
        Err(error @ pkg_config::Error::Command { .. }) => {
            panic!("pkg-config does not run: install the Debian package `pkg-config` ({error})")
        }
        Err(error) => panic!(
            "DPDK {OLDEST} or newer was not found: install the Debian packages `libdpdk-dev` and `pkg-config` ({error})"
        ),
    };
    for path in &dpdk.link_paths {
        println!("cargo:rustc-link-search=native={}", path.display());
    }
    for library in LIBRARIES {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
    // The log left EAL for a library of its own in 24.03.
    if dpdk.libs.iter().any(|library| library == "rte_log") {
        println!("cargo:rustc-link-lib=dylib=rte_log");
    }
}

/// DPDK's own compiler flags: include paths, `-include rte_config.h` and the instruction set
/// its inlines need, which the `pkg-config` crate does not hand out.
fn cflags() -> Vec<String> {
    for variable in ["PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    let output = Command::new(&program).args(["--cflags", "libdpdk"]).output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
        }
        _ => panic!(
            "`{program} --cflags libdpdk` failed: install the Debian packages `pkg-config` and `libdpdk-dev`"
        ),
    }
}
