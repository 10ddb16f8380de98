package diagnose

// Fault names what is wrong.
type Fault string

// The faults, in the order of the checks.
const (
	NotListening   Fault = "not-listening"
	PlainHTTP      Fault = "plain-http"
	NotTLS         Fault = "not-tls"
	NoAnswer       Fault = "no-answer"
	NoHandshake    Fault = "no-handshake"
	OldVersions    Fault = "old-versions"
	NoModern       Fault = "no-modern-version"
	PlaintextToo   Fault = "plaintext-too"
	NotDemanded    Fault = "no-client-certificate-demanded"
	NoneAccepted   Fault = "none-accepted"
	ForeignTaken   Fault = "foreign-accepted"
	OwnRefused     Fault = "own-refused"
	OwnDenied      Fault = "own-denied"
	OtherCANames   Fault = "other-ca-names"
	BundleMissing  Fault = "bundle-missing"
	BundleBroken   Fault = "bundle-broken"
	CAExpired      Fault = "ca-expired"
	CAReplaced     Fault = "ca-replaced"
	UnknownCA      Fault = "unknown-ca"
	SelfSigned     Fault = "self-signed"
	ChainGap       Fault = "chain-incomplete"
	ChainOrder     Fault = "chain-order"
	NoNames        Fault = "no-names"
	MissingNames   Fault = "missing-names"
	OtherNames     Fault = "other-names"
	OtherByName    Fault = "other-certificate-by-name"
	NoSPIFFEID     Fault = "no-spiffe-id"
	OtherSPIFFEID  Fault = "other-spiffe-id"
	NoServerAuth   Fault = "no-server-auth"
	NoClientAuth   Fault = "no-client-auth"
	NoUsages       Fault = "no-usages"
	NoSignature    Fault = "no-digital-signature"
	IsCA           Fault = "is-ca"
	WeakKey        Fault = "weak-key"
	OtherKey       Fault = "other-key"
	WeakSignature  Fault = "weak-signature"
	Expired        Fault = "expired"
	NotYetValid    Fault = "not-yet-valid"
	RenewalOverdue Fault = "renewal-overdue"
	Stale          Fault = "stale"
	OtherFiles     Fault = "other-files"
)

// row is a fault in the table.
type row struct {
	fault       Fault
	check       string
	severity    Severity
	why, remedy string
}

// The checks.
const (
	checkTLS       = "tls"
	checkVersions  = "versions"
	checkPlaintext = "plaintext"
	checkDemanded  = "client-demanded"
	checkNone      = "client-none"
	checkForeign   = "client-foreign"
	checkOwn       = "client-own"
	checkCANames   = "ca-names"
	checkTrust     = "trust"
	checkChain     = "chain"
	checkNames     = "names"
	checkByName    = "server-name"
	checkSPIFFEID  = "spiffe-id"
	checkUsages    = "usages"
	checkKey       = "key"
	checkExpiry    = "expiry"
	checkCurrent   = "current"
)

const (
	peersRefuse    = "peers refuse the server at once"
	reissue        = "have it issued anew: delete the pod, or `kubectl rollout restart` its workload"
	verifyClients  = "have the server require a client certificate and verify it against the CA bundle (/etc/tls/ca/ca.crt)"
	loadInjected   = "have the program serve the files that are injected (/etc/tls/server/tls.crt and tls.key, or those of mount-path)"
	askForKeyUsage = "ask for the usages in the Certificate or volume that it comes from; what is injected has them"
)

var faults = [...]row{
	{NotListening, checkTLS, Failure, "nobody can connect",
		"see with `kubectl logs` whether the program runs and on which port; a port-forward reaches it at localhost in the pod, so it must listen there, or on all addresses"},
	{PlainHTTP, checkTLS, Failure, "everything is readable on the way, and anybody is let in",
		"have the program listen with TLS on this port, or name the port where it does"},
	{NotTLS, checkTLS, Failure, "peers that speak TLS are not understood",
		"have the program listen with TLS on this port, or name the port where it does; some protocols begin TLS after a question (--starttls)"},
	{NoAnswer, checkTLS, Failure, "peers wait until they give up",
		"see with `kubectl logs` what the program does; some protocols begin TLS after a question (--starttls)"},
	{NoHandshake, checkTLS, Failure, "no peer gets through either",
		"see with `kubectl logs` what the server says of it: often its certificate or key could not be loaded"},
	{OldVersions, checkVersions, Warning, "TLS 1.0 and 1.1 are broken (RFC 8996)", "set TLS 1.2 as the lowest version"},
	{NoModern, checkVersions, Failure, "clients of today refuse anything below TLS 1.2", "turn TLS 1.2 and 1.3 on"},
	{PlaintextToo, checkPlaintext, Failure, "who leaves TLS out is served without a certificate", "serve plain HTTP nowhere, or on a port of its own for probes"},
	{NotDemanded, checkDemanded, Failure, "clients never show who they are, so anybody is let in", verifyClients},
	{NoneAccepted, checkNone, Failure, "who shows no certificate is let in all the same", verifyClients},
	{ForeignTaken, checkForeign, Failure, "anybody can make such a certificate, with any name in it", verifyClients},
	{OwnRefused, checkOwn, Failure, "the clients that it is there for are refused",
		"have the server verify clients against the CA bundle (/etc/tls/ca/ca.crt), and read it again when it changes"},
	{OwnDenied, checkOwn, Warning, "TLS let it in, and the application did not: it may let in certain names only",
		"see what the application asks of a client's names; --service-account asks for a certificate of another identity"},
	{OtherCANames, checkCANames, Warning, "Java, browsers and Go show no certificate if the server names only CAs that did not sign it",
		"have the server verify clients against the CA bundle (/etc/tls/ca/ca.crt), and read it again when it changes"},
	{BundleMissing, checkTrust, Failure, "the pod's programs have nothing to verify their peers against",
		"see whether trust-manager's Bundle selects the namespace: `kubectl get bundles`"},
	{BundleBroken, checkTrust, Failure, "programs read no CA from it, and refuse every peer or do not start", "put the CA's certificate (PEM) into it"},
	{CAExpired, checkTrust, Failure, "peers refuse all that an expired CA has signed", "roll the CA over (docs/trust.md)"},
	{CAReplaced, checkTrust, Failure, "the bundle has a CA of that name with another key, so the chain does not verify",
		"the CA was replaced, not rolled over: have the certificate issued anew, and both CAs in the bundle meanwhile (docs/trust.md)"},
	{UnknownCA, checkTrust, Failure, "peers that trust the same bundle refuse the server", loadInjected + ", or put the CA into the bundle; if it is an intermediate, serve its certificate along"},
	{SelfSigned, checkTrust, Failure, "peers that trust the bundle refuse the server", loadInjected},
	{ChainGap, checkTrust, Failure, "the certificate was signed by an intermediate that is neither sent nor trusted: only peers that know it by chance get through",
		"serve the whole of tls.crt, which holds the intermediates, and not only its first certificate"},
	{ChainOrder, checkChain, Warning, "some peers take the certificates in the order in which they come", "serve tls.crt as it is: first the server's certificate, then who signed it, and so on"},
	{NoNames, checkNames, Failure, "clients compare the name that they dial with the certificate's DNS names; common names count no more",
		"create the Service, then " + reissue},
	{MissingNames, checkNames, Failure, "clients that dial this name refuse the server", "if the Service is newer than the pod, " + reissue + "; else " + loadInjected},
	{OtherNames, checkNames, Warning, "the certificate speaks for names that are not the pod's", "if they were the pod's once, " + reissue},
	{OtherByName, checkByName, Warning, "clients get another certificate by the name that they dial", "serve the same certificate for all of the pod's names"},
	{NoSPIFFEID, checkSPIFFEID, Warning, "peers that tell each other apart by SPIFFE ID do not know the pod", loadInjected},
	{OtherSPIFFEID, checkSPIFFEID, Failure, "peers take the pod for another one", loadInjected},
	{NoServerAuth, checkUsages, Failure, peersRefuse + ": a client wants the usage server auth", askForKeyUsage},
	{NoClientAuth, checkUsages, Failure, "the pod is a client as well, and servers want the usage client auth", askForKeyUsage},
	{NoUsages, checkUsages, Warning, "a certificate for nothing in particular is taken by most peers, and refused by strict ones", askForKeyUsage},
	{NoSignature, checkUsages, Failure, "TLS 1.3 and all of today's ciphers sign with the key, and strict peers want that usage", askForKeyUsage},
	{IsCA, checkUsages, Failure, "whoever has this key can sign certificates for any name", "never serve a CA's certificate; " + loadInjected},
	{WeakKey, checkKey, Failure, "the key can be broken, and peers refuse it", "ask for another with key-algorithm and key-size"},
	{OtherKey, checkKey, Warning, "the key is not of the kind that was asked for", "if the annotation is newer than the pod, " + reissue + "; else " + loadInjected},
	{WeakSignature, checkKey, Failure, "peers of today refuse such a signature", "have the CA sign with SHA-256 or better"},
	{Expired, checkExpiry, Failure, peersRefuse, "if it was renewed, the program has not loaded it: see check current; else see `kubectl get certificaterequests`"},
	{NotYetValid, checkExpiry, Failure, peersRefuse, "set the clocks of nodes and cert-manager right"},
	{RenewalOverdue, checkExpiry, Warning, "it should have been renewed by now, and will expire", "see `kubectl get certificaterequests` and `kubectl describe` the pod: why is it not renewed, or not loaded?"},
	{Stale, checkCurrent, Failure, "the files were renewed and the program serves the old ones, until they expire",
		"reload or restart it; have that done for you with the annotation reload: restart or signal"},
	{OtherFiles, checkCurrent, Warning, "what is issued for the pod is renewed in time, and what the program serves is not", loadInjected},
}

func (f Fault) row() row {
	for i := range faults {
		if faults[i].fault == f {
			return faults[i]
		}
	}
	return row{}
}
