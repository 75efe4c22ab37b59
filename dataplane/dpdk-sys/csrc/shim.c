/* fopencookie */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shim.h"
#include <rte_mbuf_pool_ops.h>

#include <dlfcn.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

/*
 * `rte_mbuf` in src/lib.rs is written by hand, since the packet path reads it directly and
 * bindgen cannot say its unions well. These hold it to the headers it is compiled against.
 */
#define AT(field, offset) \
	_Static_assert(offsetof(struct rte_mbuf, field) == (offset), "rte_mbuf." #field " has moved: adapt src/lib.rs")
AT(buf_addr, 0);
AT(data_off, 16);
AT(refcnt, 18);
AT(nb_segs, 20);
AT(port, 22);
AT(ol_flags, 24);
AT(packet_type, 32);
AT(pkt_len, 36);
AT(data_len, 40);
AT(hash, 44);
AT(buf_len, 54);
AT(pool, 56);
AT(tx_offload, 72);
/* rte_mbuf::tag is at 96, within its 36 octets. */
AT(dynfield1, 92);
_Static_assert(sizeof(struct rte_mbuf) == 128, "rte_mbuf has another size: adapt src/lib.rs");
/* src/lib.rs packs l2_len and l3_len by these widths, lowest bits first. */
_Static_assert(RTE_MBUF_L2_LEN_BITS == 7 && RTE_MBUF_L3_LEN_BITS == 9, "rte_mbuf.tx_offload has other fields");

static shim_log_line log_line;

static ssize_t log_write(void *cookie, const char *text, size_t length)
{
	(void)cookie;
	log_line((uint32_t)rte_log_cur_msg_loglevel(), text, length);
	return (ssize_t)length;
}

int shim_log_to(shim_log_line line)
{
	cookie_io_functions_t functions = {.write = log_write};
	log_line = line;
	FILE *stream = fopencookie(NULL, "w", functions);
	if (stream == NULL)
		return -1;
	return rte_openlog_stream(stream);
}

/* Both libraries number their levels warning, info, debug. */
static int bpf_print(int level, const char *format, va_list arguments)
{
	uint32_t rte_level = level <= 0 ? RTE_LOG_WARNING : RTE_LOG_DEBUG;
	if (rte_level > rte_log_get_global_level())
		return 0;
	char text[512];
	int length = vsnprintf(text, sizeof(text), format, arguments);
	if (length > 0)
		log_line(rte_level, text, RTE_MIN((size_t)length, sizeof(text) - 1));
	return length;
}

typedef int (*bpf_print_function)(int level, const char *format, va_list arguments);
typedef bpf_print_function (*bpf_set_print_function)(bpf_print_function print);

static void bpf_print_of(const char *library, const char *function)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
	if (handle == NULL)
		return;
	bpf_set_print_function set = (bpf_set_print_function)dlsym(handle, function);
	if (set != NULL)
		set(bpf_print);
	dlclose(handle);
}

void shim_log_bpf(void)
{
	if (log_line == NULL)
		return;
	bpf_print_of("libbpf.so.0", "libbpf_set_print");
	bpf_print_of("libbpf.so.1", "libbpf_set_print");
	bpf_print_of("libxdp.so.1", "libxdp_set_print");
}

int shim_errno(void) { return rte_errno; }
uint64_t shim_rdtsc(void) { return rte_rdtsc(); }
unsigned int shim_lcore_id(void) { return rte_lcore_id(); }

int shim_port_info(uint16_t port, struct shim_port_info *out)
{
	struct rte_eth_dev_info info;
	int rc = rte_eth_dev_info_get(port, &info);
	if (rc != 0)
		return rc;
	memset(out, 0, sizeof(*out));
	if (info.driver_name != NULL)
		snprintf(out->driver, sizeof(out->driver), "%s", info.driver_name);
	out->device = info.device;
	out->if_index = info.if_index;
	out->min_mtu = info.min_mtu;
	out->max_mtu = info.max_mtu;
	out->min_rx_bufsize = info.min_rx_bufsize;
	out->max_rx_pktlen = info.max_rx_pktlen;
	out->max_rx_queues = info.max_rx_queues;
	out->max_tx_queues = info.max_tx_queues;
	out->rx_offloads = info.rx_offload_capa;
	out->tx_offloads = info.tx_offload_capa;
	out->rss_types = info.flow_type_rss_offloads;
	out->reta_size = info.reta_size;
	out->hash_key_size = info.hash_key_size;
	return 0;
}

int shim_port_configure(uint16_t port, const struct shim_port_conf *conf)
{
	struct rte_eth_conf c;
	memset(&c, 0, sizeof(c));
	c.rxmode.offloads = conf->rx_offloads;
	c.txmode.offloads = conf->tx_offloads;
	c.txmode.mq_mode = RTE_ETH_MQ_TX_NONE;
	c.rxmode.mq_mode = conf->rss_types != 0 ? RTE_ETH_MQ_RX_RSS : RTE_ETH_MQ_RX_NONE;
	c.rx_adv_conf.rss_conf.rss_hf = conf->rss_types;
	/* The driver copies the key; the structure merely lacks the const. */
	c.rx_adv_conf.rss_conf.rss_key = (uint8_t *)(uintptr_t)conf->rss_key;
	c.rx_adv_conf.rss_conf.rss_key_len = conf->rss_key_len;
	c.rxmode.mtu = conf->mtu;
	c.intr_conf.rxq = conf->rx_interrupts ? 1 : 0;
	return rte_eth_dev_configure(port, conf->rx_queues, conf->tx_queues, &c);
}

int shim_port_link(uint16_t port, struct shim_link *out)
{
	struct rte_eth_link link;
	memset(&link, 0, sizeof(link));
	int rc = rte_eth_link_get_nowait(port, &link);
	out->speed_mbps = link.link_speed;
	out->up = link.link_status == RTE_ETH_LINK_UP;
	out->full_duplex = link.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	return rc;
}

int shim_port_stats(uint16_t port, struct shim_stats *out)
{
	struct rte_eth_stats s;
	int rc = rte_eth_stats_get(port, &s);
	if (rc != 0)
		return rc;
	out->rx_packets = s.ipackets;
	out->tx_packets = s.opackets;
	out->rx_bytes = s.ibytes;
	out->tx_bytes = s.obytes;
	out->rx_missed = s.imissed;
	out->rx_errors = s.ierrors;
	out->tx_errors = s.oerrors;
	out->rx_no_mbuf = s.rx_nombuf;
	return 0;
}

int shim_port_mac(uint16_t port, uint8_t out[6])
{
	struct rte_ether_addr mac;
	int rc = rte_eth_macaddr_get(port, &mac);
	if (rc == 0)
		memcpy(out, mac.addr_bytes, 6);
	return rc;
}

int shim_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, unsigned int socket, struct rte_mempool *pool)
{
	return rte_eth_rx_queue_setup(port, queue, descriptors, socket, NULL, pool);
}

int shim_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, unsigned int socket, uint64_t offloads)
{
	struct rte_eth_dev_info info;
	int rc = rte_eth_dev_info_get(port, &info);
	if (rc != 0)
		return rc;
	info.default_txconf.offloads = offloads;
	return rte_eth_tx_queue_setup(port, queue, descriptors, socket, &info.default_txconf);
}

static __rte_noinline uint16_t join_segments(struct rte_mbuf **mbufs, uint16_t count, uint64_t *too_long)
{
	uint16_t kept = 0;
	for (uint16_t i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = mbufs[i];
		if (mbuf->nb_segs != 1 && rte_pktmbuf_linearize(mbuf) != 0) {
			rte_pktmbuf_free(mbuf);
			++*too_long;
			continue;
		}
		mbufs[kept++] = mbuf;
	}
	return kept;
}

uint16_t shim_rx_burst_joined(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count, uint64_t *too_long)
{
	uint16_t received = rte_eth_rx_burst(port, queue, mbufs, count);
	uint16_t segments = 1;
	for (uint16_t i = 0; i < received; i++)
		segments |= mbufs[i]->nb_segs;
	return likely(segments == 1) ? received : join_segments(mbufs, received, too_long);
}

uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, mbufs, count);
}

uint16_t shim_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_tx_prepare(port, queue, mbufs, count);
}

#ifndef RTE_MEMPOOL_F_NO_IOVA_CONTIG
#define RTE_MEMPOOL_F_NO_IOVA_CONTIG MEMPOOL_F_NO_IOVA_CONTIG
#endif

/* Buffers side by side, without regard to pages: the AF_XDP driver registers count x size octets from the
 * first one with the kernel, which on padded pools leaves the last ones out; each of those that is offered for
 * receiving is refused in silence and never comes back. Such a pool has no addresses for hardware. */
struct rte_mempool *shim_pool_packed(const char *name, unsigned int mbufs, unsigned int cache, uint16_t data_room, int socket)
{
	struct rte_pktmbuf_pool_private priv = { .mbuf_data_room_size = data_room };
	struct rte_mempool *pool = rte_mempool_create_empty(name, mbufs, sizeof(struct rte_mbuf) + data_room, cache,
							    sizeof(priv), socket, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
	if (pool == NULL)
		return NULL;
	if (rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL) != 0) {
		rte_mempool_free(pool);
		return NULL;
	}
	rte_pktmbuf_pool_init(pool, &priv);
	if (rte_mempool_populate_default(pool) < 0) {
		rte_mempool_free(pool);
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

struct rte_mbuf *shim_mbuf_alloc(struct rte_mempool *pool) { return rte_pktmbuf_alloc(pool); }

int shim_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count)
{
	return rte_pktmbuf_alloc_bulk(pool, mbufs, count);
}

void shim_mbuf_free(struct rte_mbuf *mbuf) { rte_pktmbuf_free(mbuf); }
void shim_mbuf_free_bulk(struct rte_mbuf **mbufs, unsigned int count) { rte_pktmbuf_free_bulk(mbufs, count); }

int shim_mbuf_claim_tag(size_t offset)
{
	static const struct rte_mbuf_dynfield tag = {.name = "sluice_tag", .size = 8, .align = 8};
	return rte_mbuf_dynfield_register_offset(&tag, offset) == (int)offset ? 0 : -1;
}

unsigned int shim_ring_sp_enqueue(struct rte_ring *ring, struct rte_mbuf **mbufs, unsigned int count)
{
	return rte_ring_sp_enqueue_burst(ring, (void *const *)mbufs, count, NULL);
}

unsigned int shim_ring_sc_dequeue(struct rte_ring *ring, struct rte_mbuf **mbufs, unsigned int count)
{
	return rte_ring_sc_dequeue_burst(ring, (void **)mbufs, count, NULL);
}

unsigned int shim_ring_count(const struct rte_ring *ring) { return rte_ring_count(ring); }
unsigned int shim_ring_capacity(const struct rte_ring *ring) { return rte_ring_get_capacity(ring); }
