// Reads the signatures of a SavedModel, which TensorFlow's C API gives as serialized bytes.
//
// A signature names the tensors that go in and come out. The C API has no call that looks one up,
// so the few fields needed are read from the bytes of the MetaGraphDef. Numbers of fields in
// protocol buffers never change: tensorflow/core/protobuf/meta_graph.proto.

#ifndef SIGNATURE_H_
#define SIGNATURE_H_

#include <stdbool.h>
#include <stddef.h>

enum { kMaxTensors = 32, kMaxName = 256 };

typedef struct {
  char key[kMaxName];        // as callers know it, such as "text"
  char operation[kMaxName];  // as the graph knows it, such as "serving_default_text", and
  int index;                 // which of the operation's outputs it is
  int type;                  // TF_DataType
  int rank;                  // -1 where it is not known
} SignatureTensor;

typedef struct {
  SignatureTensor inputs[kMaxTensors];
  int num_inputs;
  SignatureTensor outputs[kMaxTensors];  // in the order of their keys
  int num_outputs;
} Signature;

// Finds a signature by its name in a serialized MetaGraphDef. Returns NULL, or what is wrong; then
// `names` holds the names of the signatures that are there, parted by ", ".
const char* ReadSignature(const void* meta_graph, size_t size, const char* name,
                          Signature* signature, char* names, size_t names_size);

// The tensor of this key; NULL if there is none.
const SignatureTensor* FindTensor(const SignatureTensor* tensors, int count, const char* key);

#endif  // SIGNATURE_H_
