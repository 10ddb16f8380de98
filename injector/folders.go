package injector

import "example.io/mtls-injector/intent"

// The names of what is injected.
const (
	serverFolder = "/etc/tls/server"
	clientFolder = "/etc/tls/client"
	bundleFolder = "/etc/tls/ca"

	certificateFile = "tls.crt"
	keyFile         = "tls.key"
	bundleFile      = "ca.crt"
)

// folders is where the files stand in a container. Without a mount path of the user's, a
// pod that is server and client finds the same key pair in both folders.
type folders struct {
	server, client, bundle string
}

func foldersOf(in *intent.Intent) folders {
	switch {
	case in.MountPath == "":
		return folders{server: serverFolder, client: clientFolder, bundle: bundleFolder}
	case in.Delivery == intent.DeliverySecret:
		return folders{server: in.MountPath, client: in.MountPath, bundle: in.MountPath}
	default:
		return folders{server: in.MountPath, client: in.MountPath, bundle: bundleFolder}
	}
}
