#!/bin/sh
# network.sh: the server's LAN, the internet, and who is in them, as network namespaces around a router. Run it
# only in a mount namespace and a network namespace of its own: all of it goes with them.
set -eu

# set_ipv6 NAMESPACE NAME VALUE
set_ipv6() {
    for of in default all; do
        ip netns exec "$1" sh -c "echo $3 > /proc/sys/net/ipv6/conf/$of/$2"
    done
}

# namespace NAME MAC ADDRESS...: with a device eth0, whose other end has its name in the router
namespace() {
    name=$1 mac=$2
    shift 2
    ip netns add "$name"
    set_ipv6 "$name" accept_dad 0
    set_ipv6 "$name" accept_ra 0
    ip -n "$name" link set lo up
    ip -n "$name" link add eth0 address "$mac" type veth peer name "$name" netns router
    ip -n "$name" link set eth0 up
    ip -n router link set "$name" up
    for address; do ip -n "$name" address add "$address" dev eth0; done
}

# lan NAME MAC ADDRESS...: a namespace in the LAN
lan() {
    namespace "$@"
    ip -n router link set "$1" master br0
    if [ $# -gt 2 ]; then
        ip -n "$1" route add default via 192.168.77.1
        ip -n "$1" route add default via fd77::1
    fi
}

# internet NAME MAC NET4 NET6 HOST: a namespace in a network of its own, behind the router
internet() {
    namespace "$1" "$2" "$3.$5/24" "$4::$5/64"
    ip -n router address add "$3.1/24" dev "$1"
    ip -n router address add "$4::1/64" dev "$1"
    ip -n "$1" route add default via "$3.1"
    ip -n "$1" route add default via "$4::1"
}

ip netns add router
set_ipv6 router accept_dad 0
set_ipv6 router forwarding 1
ip netns exec router sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
ip -n router link set lo up
ip -n router link add br0 address 02:00:00:00:77:01 type bridge mcast_snooping 0
ip -n router link set br0 up
for address in 192.168.77.1/24 192.0.2.1/24 fd77::1/64 2001:db8:77::1/64; do
    ip -n router address add "$address" dev br0
done

lan server 02:00:00:00:77:02 192.168.77.2/24 192.0.2.2/24 fd77::2/64 2001:db8:77::2/64
lan lan 02:00:00:00:77:10 192.168.77.10/24 fd77::10/64
lan intruder 02:00:00:00:77:66 192.168.77.66/24 fd77::66/64
lan newcomer 02:00:00:00:77:0b
internet friend 02:00:00:00:51:10 198.51.100 2001:db8:51 10
internet stranger 02:00:00:00:ba:66 203.0.113 2001:db8:bad 66
