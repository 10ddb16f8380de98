package realnode

// The node's network. Pods hang on it by the ptp plugin, so that all traffic between them is
// routed, and kube-proxy sees it, with no bridge and none of its settings.

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
)

const (
	// Address is the node's.
	Address = "10.99.0.1"

	nodeNetwork    = Address + "/24"
	podNetwork     = "10.244.0.0/16"
	serviceNetwork = "10.0.0.0/16" // whose first address is cluster.ServiceAddress
	nodeLink       = "node0"
)

// setUpNetwork makes an interface with the node's address, and a route to everywhere, which
// a connection to a Service needs before it is sent elsewhere.
func setUpNetwork(string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding lo: %w", err)
	}
	pair := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: nodeLink + "-peer"}
	pair.Name = nodeLink
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("making the node's interface: %w", err)
	}
	peer, err := netlink.LinkByName(pair.PeerName)
	if err != nil {
		return fmt.Errorf("finding the node's interface: %w", err)
	}
	address, err := netlink.ParseAddr(nodeNetwork)
	if err != nil {
		return fmt.Errorf("reading the node's address: %w", err)
	}
	everywhere := &netlink.Route{LinkIndex: pair.Index, Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Src: address.IP, Scope: netlink.SCOPE_LINK}
	err = errors.Join(netlink.LinkSetUp(lo), netlink.LinkSetUp(pair), netlink.LinkSetUp(peer), netlink.AddrAdd(pair, address))
	if err == nil {
		err = netlink.RouteAdd(everywhere)
	}
	if err != nil {
		return fmt.Errorf("configuring the node's network: %w", err)
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) // of this namespace only
}

// cniConfig gives each pod an address and a route to the node.
const cniConfig = `{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [{
    "type": "ptp",
    "mtu": 1500,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}
  }]
}
`

// writeCNI writes the network's configuration into a folder.
func writeCNI(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("making a folder for the network's configuration: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "10-pods.conflist"), fmt.Appendf(nil, cniConfig, podNetwork), 0o600); err != nil {
		return fmt.Errorf("writing the network's configuration: %w", err)
	}
	return nil
}
