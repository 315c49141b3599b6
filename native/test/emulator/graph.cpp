/* Graphs: work as it was recorded, kernel arguments and all, to be run again and again. */
#include "runtime.h"

namespace emu {

Registry<emu_graph> graphs;
Registry<emu_graph_exec> execs;

emu_graph *make_graph(std::vector<Work> work) {
  emu_graph *graph = new emu_graph{std::move(work)};
  graphs.add(graph);
  return graph;
}

}  // namespace emu

using emu::call;
using emu::Device;

/* How many; which they are nobody has asked yet. */
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count) {
  return call([=](Device &) {
    if (!emu::graphs.has(graph) || count == nullptr) return cudaErrorInvalidValue;
    if (nodes != nullptr) return cudaErrorNotSupported;
    *count = graph->work.size();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
  return call([=](Device &d) {
    if (exec == nullptr || !emu::graphs.has(graph)) return cudaErrorInvalidValue;
    *exec = new emu_graph_exec{&d, std::make_shared<const std::vector<emu::Work>>(graph->work)};
    emu::execs.add(*exec);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  return call([=](Device &) {
    if (!emu::execs.has(exec)) return cudaErrorInvalidValue;
    return emu::resolve(stream) != nullptr ? cudaSuccess : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return call([=](Device &) {
    if (!emu::execs.has(exec)) return cudaErrorInvalidValue;
    emu_stream *s = emu::resolve(stream);
    if (s == nullptr || s->device != exec->device) return cudaErrorInvalidResourceHandle;
    return emu::enqueue(s, [all = exec->work](emu_stream *on) {
      for (const emu::Work &work : *all) {
        const cudaError_t error = work(on);
        if (error != cudaSuccess) return error;
      }
      return cudaSuccess;
    });
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  if (!emu::graphs.remove(graph)) return emu::remember(cudaErrorInvalidValue);
  delete graph;
  return call([](Device &) { return cudaSuccess; });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  if (!emu::execs.remove(exec)) return emu::remember(cudaErrorInvalidValue);
  delete exec;
  return call([](Device &) { return cudaSuccess; });
}
