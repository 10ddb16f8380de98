// Package monitoring has the tests of what the chart has for Prometheus and Grafana: the alerts
// with promtool (alerts_test.go), the dashboard's form (dashboard_test.go), and both with a
// Prometheus that scrapes the injector, cert-manager and the API server (live_test.go).
package monitoring
