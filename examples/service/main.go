// Command service is an HTTP service with Credence inside: it trains a small classifier when it starts and then answers
// requests with probabilities. It is a module of its own and uses only what any program can.
//
//	cd examples/service && go run . &
//	curl -d '{"points": [[0, 1], [1, -0.5]]}' localhost:8080/predict
//
// Where build/lib is not the installed one, CREDENCE_BACKEND_DIR names the directory of the native backends; without
// any the pure-Go device serves.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/credence-ml/credence/runtime"
)

func main() {
	address := flag.String("listen", "localhost:8080", "address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *address); err != nil {
		log.Fatal(err)
	}
}

// serve runs the service until ctx ends.
func serve(ctx context.Context, address string) error {
	rt, err := runtime.Open() // the environment decides on the device: CREDENCE_DEVICE, CREDENCE_THREADS ...
	if err != nil {
		return err
	}
	defer rt.Close()
	report := rt.Report()
	log.Printf("device: %s (%s)", report.Chosen.Name, report.Reason)

	s, err := newService(ctx, rt)
	if err != nil {
		return err
	}
	defer s.close()

	server := &http.Server{Addr: address, Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	log.Printf("listening on %s", address)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	// requests under way are finished before the model and the runtime are closed
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return server.Shutdown(deadline)
}
