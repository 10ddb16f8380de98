package intent_test

import "strings"

// Values that are wrong by themselves, for every key of the annotation table.

// What the errors say is allowed.
const (
	notList       = "must be a comma-separated list without empty items"
	notLabel      = "must be a lower-case name of letters, digits and '-', at most 63 characters"
	notObjectName = "must be a lower-case name of letters, digits, '-' and '.', at most 253 characters"
	notDNSName    = "must be a lower-case DNS name without a trailing dot, at most 253 characters, 63 between dots"
	notTrimmed    = "must not be empty nor begin or end with a space"
	notSubject    = `must have printable characters only, without comma, '$', '"' and '\'`
	tooLong       = "must have at most 64 bytes (RFC 5280)"
	tooMany       = "must have at most 100 items"
	notKind       = "must be a kind such as Issuer or ClusterIssuer"
	notDuration   = "must be a Go duration of whole seconds such as 720h or 90m"
	notAlgorithm  = "must be one of ECDSA, RSA, Ed25519"
	notKeySize    = "must be a whole number from 1 to 8192"
	notPath       = "must be an absolute path such as /certs, without '..', ':', ',', '$' and a trailing '/' or space"
	notCAPath     = "must not be or hide /etc/tls/ca, where the CA bundle is mounted, nor be /etc"
	notBundle     = "must be a name, ConfigMap/name or ClusterTrustBundle/name"
	notTrust      = "must be the name of a ClusterTrustBundle: lower-case letters, digits, '.', '-' and, behind a signer's name, ':'"
	notSeconds    = "must be a whole number from 0 to 3600"
	notGroup      = "must be a whole number from 1 to 4294967295"
	notBool       = `must be "true" or "false"`
	notRole       = "must be one of server, client, both, none"
	notDelivery   = "must be one of csi, secret"
	notEnv        = "must be one of mtls, openssl, curl, python, node, grpc, postgres, aws, none"
	notReload     = "must be one of none, restart, signal"
	notSignal     = "must be one of SIGHUP, SIGUSR1, SIGUSR2, SIGINT, SIGQUIT, SIGTERM, SIGWINCH"
	notProcess    = "must be a process's name as `ps -o comm` shows it, such as nginx: at most 15 characters, of which longer names have the first 15"
	notURL        = "must be http://localhost:<port>/<path>"
	notProbes     = "must be one of keep, tcp"
)

// cyrillic looks like "web".
const cyrillic = "w\u0435b"

// items returns a list of that many items.
func items(count int) string {
	return strings.TrimSuffix(strings.Repeat("x,", count), ",")
}

// wrongValues maps keys to values and what is said of each.
func wrongValues() map[string]map[string]string {
	long63, long64 := strings.Repeat("a", 63), strings.Repeat("a", 64)
	long253 := strings.Repeat(long63+".", 3) + long63[:61]
	return map[string]map[string]string{
		"role": {
			"": notRole, "Server": notRole + `; did you mean "server"?`, "server ": notRole + `; did you mean "server"?`,
			"server,client": notRole, "servr": notRole + `; did you mean "server"?`, "mesh": notRole,
		},
		"delivery": {
			"": notDelivery, "CSI": notDelivery + `; did you mean "csi"?`, "sercet": notDelivery + `; did you mean "secret"?`,
			"csi\n": notDelivery + `; did you mean "csi"?`, "vault": notDelivery,
		},
		"service": {
			"": notList, " ": notList, "web,": notList, ",web": notList, "web,,admin": notList,
			"Web": `item "Web": ` + notLabel, "web.shop": `item "web.shop": ` + notLabel,
			"web\nadmin": `item "web\nadmin": ` + notLabel, "$web": `item "$web": ` + notLabel,
			cyrillic: `item "` + cyrillic + `": ` + notLabel, long64: `item "` + long64 + `": ` + notLabel,
			items(101): tooMany,
		},
		"dns-names": {
			"": notList, "a,,b": notList, "Web.example.com": `item "Web.example.com": ` + notDNSName,
			"web.example.com.": `item "web.example.com.": ` + notDNSName, "*": `item "*": ` + notDNSName,
			"*.": `item "*.": ` + notDNSName, "a.*.example.com": `item "a.*.example.com": ` + notDNSName,
			"*.*.example.com": `item "*.*.example.com": ` + notDNSName, "${POD_NAME}.example.com": `item "${POD_NAME}.example.com": ` + notDNSName,
			cyrillic + ".example.com": `item "` + cyrillic + `.example.com": ` + notDNSName,
			long64 + ".example.com":   `item "` + long64 + `.example.com": ` + notDNSName,
			"*." + long253:            `item "*.` + long253[:118] + `…": ` + notDNSName,
			"web\x00.example.com":     `item "web\x00.example.com": ` + notDNSName,
		},
		"common-name": {
			"": notTrimmed, " web.shop": notTrimmed, "web.shop\n": notTrimmed, "a,b": notSubject, "$POD_NAME": notSubject,
			`a"b`: notSubject, `a\b`: notSubject, "a\x7fb": notSubject, "a\u202eb": notSubject, "a\xffb": notSubject,
			long64 + "a": tooLong,
		},
		"organizations": {
			"": notList, "Retail,": notList, "a\nb": `item "a\nb": ` + notSubject, "${POD_UID}": `item "${POD_UID}": ` + notSubject,
			`"quoted"`: `item "\"quoted\"": ` + notSubject, strings.Repeat("ü", 33): `item "` + strings.Repeat("ü", 33) + `": ` + tooLong,
			items(101): tooMany,
		},
		"organizational-units": {
			"": notList, ",": notList, "a\tb": `item "a\tb": ` + notSubject, "a$b": `item "a$b": ` + notSubject,
			"ok,zero\u200bwidth": `item "zero\u200bwidth": ` + notSubject, long64 + "a": `item "` + long64 + `a": ` + tooLong,
		},
		"issuer": {
			"": notObjectName, "My-CA": notObjectName, "ca,other": notObjectName, "$ca": notObjectName, "-ca": notObjectName,
			"ca.": notObjectName, "*": notObjectName, strings.Repeat("a", 254): notObjectName,
		},
		"issuer-kind": {
			"": notKind, "issuer": notKind, "Issuer ": notKind, "Cluster,Issuer": notKind, "Issuer\n": notKind, "I" + long63: notKind,
			"\u0406ssuer": notKind,
		},
		"issuer-group": {
			"": notObjectName, "Cert-Manager.io": notObjectName, "cert-manager.io/v1": notObjectName, "cert-manager.io.": notObjectName,
		},
		"duration": {
			"": notDuration, "90": notDuration, "90d": notDuration, "-48h": notDuration, "0s": notDuration, "1h0.5s": notDuration,
			"48h ": notDuration, "9999999999h": notDuration, "48H": notDuration,
		},
		"renew-before": {
			"": notDuration, "5": notDuration, "1d": notDuration, "-5m": notDuration, "0": notDuration, "300.1s": notDuration,
		},
		"key-algorithm": {
			"": notAlgorithm, "DSA": notAlgorithm + `; did you mean "RSA"?`, "rsa ": notAlgorithm + `; did you mean "RSA"?`,
			"RSA4096": notAlgorithm, "ECDSA-P256": notAlgorithm,
		},
		"key-size": {
			"": notKeySize, "0": notKeySize, "0384": notKeySize, "+384": notKeySize, "38 4": notKeySize, "8193": notKeySize,
			"-256": notKeySize, "256.0": notKeySize, "99999999999999999999": notKeySize, "\u0663\u0668\u0664": notKeySize,
		},
		"containers": {
			"": notList, "app,": notList, "App": `item "App": ` + notLabel, "app;proxy": `item "app;proxy": ` + notLabel,
			"app\nproxy": `item "app\nproxy": ` + notLabel,
		},
		"exclude-containers": {
			"": notList, " , ": notList, "a_b": `item "a_b": ` + notLabel, "*": `item "*": ` + notLabel, items(101): tooMany,
		},
		"mount-path": {
			"": notPath, "certs": notPath, "./certs": notPath, "/": notPath, "//certs": notPath, "/certs/": notPath, "/certs ": notPath, " /certs": notPath, "/ ": notPath, "/\x80": notPath, "/a/../etc": notPath,
			"/a:b": notPath, "/a,b": notPath, "/$HOME": notPath, "/a\nb": notPath, "/a\u00a0b": notPath, "/" + strings.Repeat("a", 1024): notPath,
			"/proc": "must not hide or lie in /proc", "/dev/shm": "must not hide or lie in /dev", "/sys/fs": "must not hide or lie in /sys",
			"/var": "must not hide or lie in /var/run/secrets/kubernetes.io", "/run/secrets": "must not hide or lie in /run/secrets/kubernetes.io",
			"/var/run/secrets/kubernetes.io/serviceaccount": "must not hide or lie in /var/run/secrets/kubernetes.io",
			"/etc": notCAPath, "/etc/tls": notCAPath, "/etc/tls/ca": notCAPath, "/etc/tls/ca/x": notCAPath,
		},
		"ca-bundle": {
			"": notObjectName, "Trust": notObjectName, "ConfigMap/": notObjectName, "ConfigMap/a/b": notObjectName, "trust,": notObjectName,
			"Secret/trust": notBundle, "configmap/trust": notBundle, "/trust": notBundle, "ClusterTrustBundle/": notTrust,
			"ClusterTrustBundle/a$b": notTrust, "ClusterTrustBundle/Live": notTrust, "ClusterTrustBundle/a/b": notTrust,
			"ClusterTrustBundle/" + strings.Repeat("a", 254): notTrust,
		},
		"env": {
			"": notList, "mtls,": notList, "MTLS": `item "MTLS": ` + notEnv + `; did you mean "mtls"?`,
			"mtls,crul": `item "crul": ` + notEnv + `; did you mean "curl"?`, "none,mtls": "none must stand alone", "java": `item "java": ` + notEnv,
		},
		"pre-stop-seconds": {
			"": notSeconds, "-1": notSeconds, "3601": notSeconds, "10s": notSeconds, "1.5": notSeconds, " 5": notSeconds, "1e3": notSeconds,
		},
		"fs-group": {
			"": notGroup, "0": notGroup, "-1": notGroup, "4294967296": notGroup, "root": notGroup, "0x10": notGroup, "01": notGroup,
		},
		"reload": {
			"": notReload, "None": notReload + `; did you mean "none"?`, "restrat": notReload + `; did you mean "restart"?`, "hup": notReload,
		},
		"reload-signal": {
			"": notSignal, "HUP": notSignal, "sighup": notSignal + `; did you mean "SIGHUP"?`, "SIGKILL": notSignal, "1": notSignal,
		},
		"reload-container": {"": notLabel, "Nginx": notLabel, "nginx,app": notLabel, "nginx\x00": notLabel},
		"reload-process":   {"": notProcess, "/usr/sbin/nginx": notProcess, "nginx: master": notProcess, "a,b": notProcess, "sixteen-letters-": notProcess, "-x": notProcess, "$x": notProcess},
		"reload-url": {
			"": notURL, "localhost:80": notURL, "https://localhost:80/": notURL, "http://localhost/": notURL, "http://localhost:0/": notURL,
			"http://localhost:65536/": notURL, "http://127.0.0.1:80/": notURL, "http://example.com:80/": notURL, "http://localhost.example.com:80/": notURL,
			"http://u:p@localhost:80/": notURL, "http://localhost:80/#x": notURL, "http://localhost:80/$(X)": notURL, "http://localhost:80/a b": notURL,
			"http://localhost:80/\n": notURL, "http://localhost:80/a,b": notURL, "HTTP://localhost:80/": notURL, "http://localhost:080x/": notURL,
		},
		"agent": {"": notBool, "True": notBool, "yes": notBool, "1": notBool, "true ": notBool},
		"probes": {
			"": notProbes, "TCP": notProbes + `; did you mean "tcp"?`, "http": notProbes + `; did you mean "tcp"?`, "exec": notProbes, "tcp,keep": notProbes,
		},
		"companion": {"": notBool, "FALSE": notBool, "no": notBool, "0": notBool},
	}
}
