"""Run the TensorFlow graph of a MAXIM package once per picture, on one thread: the other side of benchmarks/maxim.py.

It needs tensorflow-cpu and NumPy, and nothing of undegrade, so that it runs in an environment of its own.  It reads the
picture (H, W, 3) in 0..1 from a .npy file, writes the graph's answer beside it, and prints CPU seconds and peak MiB.

Example: python -m venv /tmp/tf && /tmp/tf/bin/pip install tensorflow-cpu
         /tmp/tf/bin/python benchmarks/maxim_graph.py upscalerjs-maxim-deraining-0.1.0.tgz picture.npy answer.npy 2
"""

import json
import os
import resource
import sys
import tarfile
import time

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")

import numpy as np
import tensorflow as tf  # type: ignore[import-not-found, unused-ignore]
from google.protobuf import json_format

ITEM_BYTES = 4  # float32 and int32 only


def read_graph(path: str) -> "tf.compat.v1.GraphDef":
    """Returns the package's graph with its weights, which TensorFlow.js keeps beside it, as constants again."""
    with tarfile.open(path) as archive:
        members = {member.name.rsplit("/", 1)[-1]: archive.extractfile(member) for member in archive if member.isfile()}
        model = json.load(members["model.json"])
        (group,) = model["weightsManifest"]
        data = b"".join(members[name].read() for name in group["paths"])
    for node in model["modelTopology"]["node"]:
        node.pop("inputs", None)  # repeats `input`
    graph = json_format.ParseDict(model["modelTopology"], tf.compat.v1.GraphDef(), ignore_unknown_fields=True)
    values, offset = {}, 0
    for constant in group["weights"]:
        count = int(np.prod(constant["shape"]))
        kind = {"float32": np.float32, "int32": np.int32}[constant["dtype"]]
        values[constant["name"]] = np.frombuffer(data, kind, count, offset).reshape(constant["shape"])
        offset += count * ITEM_BYTES
    for node in graph.node:
        if node.op == "Const":
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values[node.name]))
    return graph


def main() -> None:
    package, picture, answer, repeats = sys.argv[1:]
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(read_graph(package), name="")
        one_thread = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        with tf.compat.v1.Session(graph=graph, config=one_thread) as session:
            image, seconds = np.load(picture)[None], []
            for _ in range(1 + int(repeats)):  # the first also plans
                start_s = time.process_time()
                output = session.run("Identity:0", {"xs_0:0": image})
                seconds.append(time.process_time() - start_s)
    np.save(answer, output[0])
    print(min(seconds[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
