package runtime

import (
	"fmt"
	"sync/atomic"
)

// live counts what is open in the process.
var live struct{ devices, buffers, plans, streams, sessions atomic.Int64 }

// Counts says how many objects of each kind are open. The zero value means that everything was closed.
type Counts struct {
	Devices  int64 `json:"devices"`
	Buffers  int64 `json:"buffers"`
	Plans    int64 `json:"plans"`
	Streams  int64 `json:"streams"`
	Sessions int64 `json:"sessions"`
}

// Live counts what is open in the whole process, over all runtimes: what was forgotten, if it is not zero at the end.
func Live() Counts {
	return Counts{Devices: live.devices.Load(), Buffers: live.buffers.Load(), Plans: live.plans.Load(),
		Streams: live.streams.Load(), Sessions: live.sessions.Load()}
}

// String is one line, for example "1 devices, 2 buffers, 1 plans, 2 streams, 1 sessions".
func (c Counts) String() string {
	return fmt.Sprintf("%d devices, %d buffers, %d plans, %d streams, %d sessions", c.Devices, c.Buffers, c.Plans,
		c.Streams, c.Sessions)
}
