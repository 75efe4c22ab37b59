-- pktgen-dpdk: the UDP loads of `sluice-perf`, from hosts behind the gateway to one in front of it.
--
--   LOAD=established FLOWS=1048576 RATE=50 SECONDS=60 GATEWAY_MAC=02:00:00:00:00:01 \
--       pktgen -l 1-5 -n 4 -- -P -m "[2:3].0,[4:5].1" -f udp.lua
--
-- LOAD: established (64 octets; the warm-up opens every flow), new (64 octets; take more FLOWS than the gateway keeps, or
-- than come round within its UDP timeout, and no WARM_UP), imix (64, 594 and 1,518 octets, 7:4:1). Port 0 sends, port 1
-- receives. Prints what went, what came and what is missing.
--
-- pktgen-dpdk steps through ranges and draws nothing at random, so flows come in turn: the next host and the next port
-- with every packet. Its sequences hold 16 packets, so `imix` has 12 flows. For flows at random, and for IMIX of many,
-- take TRex. Not run on a real NIC by its authors: see docs/perf-lab.md.

package.path = package.path .. ";?.lua;test/?.lua;app/?.lua;../?.lua"
require "Pktgen"

local load = os.getenv("LOAD") or "established"
local flows = tonumber(os.getenv("FLOWS") or "65536")
local rate = tonumber(os.getenv("RATE") or "10")
local seconds = tonumber(os.getenv("SECONDS") or "30")
local warm_up = tonumber(os.getenv("WARM_UP") or "10")
local target = os.getenv("TARGET") or "198.18.0.10"
local gateway = os.getenv("GATEWAY_MAC")
local own = os.getenv("OWN_MAC") or "02:00:00:00:00:02"

-- Flows of one inside host, and hosts of the example's network 10.2.0.0/16.
local per_source, most_hosts, first_port = 256, 65533, 20000

assert(gateway, "GATEWAY_MAC: the hardware address of the gateway's inside port; sluiced logs it as it starts")
assert(flows >= per_source and flows <= per_source * most_hosts,
  "FLOWS: from " .. per_source .. " to " .. per_source * most_hosts)

-- Hosts and ports step together, so that their numbers may have no common divisor, or some pairs would never come:
-- there are 256 ports, so hosts are odd.
local hosts = math.floor(flows / per_source)
if hosts % 2 == 0 then
  hosts = hosts - 1
end
flows = hosts * per_source

-- Host n of 10.2.0.0/16, n from 1.
local function host(n)
  return string.format("10.2.%d.%d", math.floor(n / 256), n % 256)
end

local function ranges()
  pktgen.range.dst_mac("0", "start", gateway)
  pktgen.range.src_mac("0", "start", own)
  pktgen.range.ip_proto("0", "udp")
  pktgen.range.src_ip("0", "start", host(1))
  pktgen.range.src_ip("0", "inc", "0.0.0.1")
  pktgen.range.src_ip("0", "min", host(1))
  pktgen.range.src_ip("0", "max", host(hosts))
  pktgen.range.src_port("0", "start", first_port)
  pktgen.range.src_port("0", "inc", 1)
  pktgen.range.src_port("0", "min", first_port)
  pktgen.range.src_port("0", "max", first_port + per_source - 1)
  for _, what in ipairs({ "start", "min", "max" }) do
    pktgen.range.dst_ip("0", what, target)
    pktgen.range.dst_port("0", what, 443)
    pktgen.range.pkt_size("0", what, 64)
  end
  pktgen.range.dst_ip("0", "inc", "0.0.0.0")
  pktgen.range.dst_port("0", "inc", 0)
  pktgen.range.pkt_size("0", "inc", 0)
  pktgen.set_range("0", "on")
end

local function mix()
  local sizes = { 64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 594, 64 }
  for n, size in ipairs(sizes) do
    pktgen.seqTable(n - 1, "0", {
      ["eth_dst_addr"] = gateway,
      ["eth_src_addr"] = own,
      ["ip_dst_addr"] = target,
      ["ip_src_addr"] = host(n) .. "/16",
      ["sport"] = first_port + n,
      ["dport"] = 443,
      ["ethType"] = "ipv4",
      ["ipProto"] = "udp",
      ["vlanid"] = 1,
      ["pktSize"] = size,
    })
  end
  pktgen.set("0", "seqCnt", #sizes)
  flows = #sizes
end

local function send(milliseconds)
  pktgen.clr()
  pktgen.start("0")
  pktgen.delay(milliseconds)
  pktgen.stop("0")
  -- What is on its way (RFC 2544, section 23).
  pktgen.delay(2000)
  return pktgen.portStats("0", "port")[0].opackets, pktgen.portStats("1", "port")[1].ipackets
end

pktgen.screen("off")
pktgen.stop("all")
pktgen.set("0", "count", 0)
pktgen.set("0", "rate", rate)
if load == "imix" then
  mix()
elseif load == "established" or load == "new" then
  ranges()
else
  error("LOAD: established, new or imix, not " .. load)
end
if warm_up > 0 then
  send(warm_up * 1000)
end
local sent, received = send(seconds * 1000)
print(string.format("%s, %d flows, rate %g %%: %d sent, %d received, %d missing (%.4f %%)", load, flows, rate, sent, received,
  sent - received, sent > 0 and 100 * (sent - received) / sent or 0))
