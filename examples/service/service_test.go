package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/credence-ml/credence/runtime"
)

func open(t *testing.T) *service {
	t.Helper()
	rt, err := runtime.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rt.Close)
	t.Logf("device: %s (%s)", rt.Report().Chosen.Name, rt.Report().Reason)
	s, err := newService(t.Context(), rt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func ask(t *testing.T, s *service, ctx context.Context, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)).WithContext(ctx))
	return w.Code, w.Body.String()
}

func TestService(t *testing.T) {
	s := open(t)

	t.Run("unseen points", func(t *testing.T) {
		points, labels := moons(400, 2)
		var request predictRequest
		for i := range labels {
			request.Points = append(request.Points, [2]float32(points[2*i:]))
		}
		body, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		code, text := ask(t, s, t.Context(), "POST", "/predict", string(body))
		var response predictResponse
		if err := json.Unmarshal([]byte(text), &response); code != http.StatusOK || err != nil {
			t.Fatal(code, text)
		}
		right := 0
		for i, p := range response.Probabilities {
			if sum := p[0] + p[1]; sum < 0.999 || sum > 1.001 {
				t.Fatalf("the probabilities of point %d add up to %v", i, sum)
			}
			if (p[1] > p[0]) == (labels[i] == 1) {
				right++
			}
		}
		if right < 390 || len(response.Probabilities) != 400 {
			t.Errorf("%d of %d points are classified rightly", right, len(response.Probabilities))
		}
	})

	t.Run("many clients at once", func(t *testing.T) {
		_, want := ask(t, s, t.Context(), "POST", "/predict", `{"points": [[0, 1], [1, -0.5]]}`)
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if code, text := ask(t, s, t.Context(), "POST", "/predict", `{"points": [[0, 1], [1, -0.5]]}`); code != http.StatusOK || text != want {
					t.Errorf("%d %s; want %s", code, text, want)
				}
			})
		}
		wg.Wait()
	})

	t.Run("bad requests", func(t *testing.T) {
		many := `{"points": [` + strings.Repeat("[0, 0],", maxPoints) + `[0, 0]]}`
		for _, body := range []string{"", "{", `{"points": "none"}`, many, strings.Repeat(" ", maxBody+1)} {
			if code, text := ask(t, s, t.Context(), "POST", "/predict", body); code != http.StatusBadRequest || text == "" {
				t.Errorf("%.20q: %d %s", body, code, text)
			}
		}
		if code, _ := ask(t, s, t.Context(), "POST", "/predict", `{"points": []}`); code != http.StatusOK {
			t.Errorf("no points: %d", code)
		}
	})

	t.Run("a client that left", func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		leave()
		if _, text := ask(t, s, ctx, "POST", "/predict", `{"points": [[0, 1]]}`); text != "" {
			t.Errorf("answered %s", text)
		}
		if code, _ := ask(t, s, t.Context(), "POST", "/predict", `{"points": [[0, 1]]}`); code != http.StatusOK {
			t.Errorf("the next client: %d", code)
		}
	})

	t.Run("devices", func(t *testing.T) {
		code, text := ask(t, s, t.Context(), "GET", "/devices", "")
		var report runtime.Report
		if err := json.Unmarshal([]byte(text), &report); code != http.StatusOK || err != nil || report.Reason == "" {
			t.Errorf("%d %s", code, text)
		}
	})
}
