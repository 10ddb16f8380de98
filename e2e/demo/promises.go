package demo

import "example.io/mtls-injector/intent"

// promise is what the examples' comments say about the pods of one workload. All of
// them have the label app with the workload's name.
type promise struct {
	namespace, kind, name string
	pods                  int
	// What an injected pod gets.
	role     intent.Role
	delivery intent.Delivery
	issuer   string
	// skip is why the pods are left alone instead.
	skip intent.SkipReason
}

func promises() []promise {
	const ca, own = "ClusterIssuer/mtls-ca", "Issuer/payments-ca"
	return []promise{
		{namespace: "shop", kind: "Deployment", name: "orders", pods: 2, role: intent.RoleServer, delivery: intent.DeliveryCSI, issuer: ca},
		{namespace: "shop", kind: "Job", name: "smoke-test", pods: 1, role: intent.RoleClient, delivery: intent.DeliveryCSI, issuer: ca},
		{namespace: "shop", kind: "Deployment", name: "edge", pods: 1, role: intent.RoleServer, delivery: intent.DeliveryCSI, issuer: ca},
		{namespace: "shop", kind: "Deployment", name: "reports", pods: 1, role: intent.RoleClient, delivery: intent.DeliveryCSI, issuer: ca},
		{namespace: "shop", kind: "Deployment", name: "cart", pods: 1, role: intent.RoleBoth, delivery: intent.DeliveryCSI, issuer: ca},
		{namespace: "shop", kind: "StatefulSet", name: "db", pods: 2, role: intent.RoleServer, delivery: intent.DeliverySecret, issuer: ca},
		{namespace: "payments", kind: "Deployment", name: "ledger", pods: 1, role: intent.RoleBoth, delivery: intent.DeliveryCSI, issuer: own},
		{namespace: "payments", kind: "Deployment", name: "worker", pods: 1, role: intent.RoleBoth, delivery: intent.DeliveryCSI, issuer: own},
		{namespace: "payments", kind: "Pod", name: "debug", pods: 1, skip: intent.SkipRoleNone},
		{namespace: "shop", kind: "Pod", name: "plain", pods: 1, skip: intent.SkipNoRole},
	}
}
