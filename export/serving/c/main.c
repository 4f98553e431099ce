// Answers texts by a SavedModel: ./answer my-model/1 < texts.txt
//
// Nothing but TensorFlow's C API is used. Each line is a text, with tabs before second texts; each
// answer is a line of JSON: every output of the signature by its name.

#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "signature.h"
#include "tensorflow/c/c_api.h"

enum { kCannotAnswer = 1, kWrongUse = 2 };

static void Fail(int code, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(code);
}

// A message of TensorFlow may run over several lines; the first says what is wrong.
static const char* FirstLine(TF_Status* status) {
  static char line[512];
  snprintf(line, sizeof(line), "%s", TF_Message(status));
  line[strcspn(line, "\n")] = '\0';
  return line;
}

typedef struct {
  const char* bytes;
  size_t size;
} Text;

// A string tensor `[count]` of a rank of 1, or `[1, count]` of a rank of 2.
static TF_Tensor* MakeStrings(const Text* texts, int count, int rank) {
  const int64_t shape[] = {1, count};
  const size_t size = (size_t)count * sizeof(TF_TString);
  TF_Tensor* tensor = TF_AllocateTensor(TF_STRING, rank == 2 ? shape : shape + 1, rank, size);
  TF_TString* strings = TF_TensorData(tensor);
  for (int i = 0; i < count; ++i) {
    TF_StringInit(&strings[i]);
    TF_StringCopy(&strings[i], texts[i].bytes, texts[i].size);
  }
  return tensor;
}

// A tensor's memory is freed by TensorFlow; what its strings hold is ours.
static void FreeStrings(TF_Tensor* tensor) {
  TF_TString* strings = TF_TensorData(tensor);
  const int64_t count = TF_TensorElementCount(tensor);
  for (int64_t i = 0; i < count; ++i) TF_StringDealloc(&strings[i]);
  TF_DeleteTensor(tensor);
}

static void PrintQuoted(const char* text, size_t size) {
  putchar('"');
  for (size_t i = 0; i < size; ++i) {
    const unsigned char c = (unsigned char)text[i];
    if (c < 0x20) {
      printf("\\u%04x", c);
    } else {
      if (c == '"' || c == '\\') putchar('\\');
      putchar(c);
    }
  }
  putchar('"');
}

static void PrintElement(TF_Tensor* tensor, int64_t index) {
  const void* data = TF_TensorData(tensor);
  switch (TF_TensorType(tensor)) {
    case TF_FLOAT: {
      const float value = ((const float*)data)[index];
      // All the digits that a float has; JSON knows nothing but numbers.
      isfinite(value) ? printf("%.9g", value) : printf("null");
      break;
    }
    case TF_INT32:
      printf("%d", ((const int32_t*)data)[index]);
      break;
    case TF_INT64:
      printf("%lld", (long long)((const int64_t*)data)[index]);
      break;
    case TF_STRING: {
      const TF_TString* text = &((const TF_TString*)data)[index];
      PrintQuoted(TF_StringGetDataPointer(text), TF_StringGetSize(text));
      break;
    }
    default:
      printf("null");
  }
}

// Prints from dimension `axis` on, beginning with element `*index`, and moves `*index` behind.
static void PrintValues(TF_Tensor* tensor, int axis, int64_t* index) {
  if (axis >= TF_NumDims(tensor)) {
    PrintElement(tensor, (*index)++);
    return;
  }
  putchar('[');
  for (int64_t i = 0; i < TF_Dim(tensor, axis); ++i) {
    if (i > 0) printf(", ");
    PrintValues(tensor, axis + 1, index);
  }
  putchar(']');
}

// Parts a line at its tabs. Returns how many texts there are; `*texts` is freed by the caller.
static int Split(Text line, Text** texts) {
  int count = 1;
  for (size_t i = 0; i < line.size; ++i) count += line.bytes[i] == '\t';
  *texts = malloc((size_t)count * sizeof(Text));
  if (*texts == NULL) Fail(kCannotAnswer, "There is no memory for so many texts.");
  for (int i = 0; i < count; ++i) {
    const char* tab = memchr(line.bytes, '\t', line.size);
    const size_t size = tab != NULL ? (size_t)(tab - line.bytes) : line.size;
    (*texts)[i] = (Text){line.bytes, size};
    if (tab != NULL) line = (Text){tab + 1, line.size - size - 1};
  }
  return count;
}

static TF_Output FindOutput(TF_Graph* graph, const SignatureTensor* tensor) {
  const TF_Output output = {TF_GraphOperationByName(graph, tensor->operation), tensor->index};
  if (output.oper == NULL) {
    Fail(kWrongUse, "The signature names `%s`, which is not in the graph. Export it again.",
         tensor->operation);
  }
  return output;
}

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    Fail(kWrongUse, "Usage: %s my-model/1 [texts.txt]: a text in each line, second texts behind "
         "tabs.", argv[0]);
  }

  char path[4096];
  struct stat information;
  snprintf(path, sizeof(path), "%s/saved_model.pb", argv[1]);
  if (stat(path, &information) != 0) {
    Fail(kWrongUse, "%s is not a SavedModel: it holds no saved_model.pb. Give the directory of a "
         "version, such as my-model/1.", argv[1]);
  }
  FILE* file = argc == 3 ? fopen(argv[2], "rb") : stdin;
  if (file == NULL) Fail(kWrongUse, "%s cannot be read: %s.", argv[2], strerror(errno));

  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  TF_Buffer* meta_graph = TF_NewBuffer();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph,
                                                     meta_graph, status);
  if (TF_GetCode(status) != TF_OK) {
    Fail(kWrongUse, "%s cannot be loaded by TensorFlow %s. Copy or export it again. Received: %s",
         argv[1], TF_Version(), FirstLine(status));
  }

  Signature signature;
  char names[1024];
  const char* error = ReadSignature(meta_graph->data, meta_graph->length, "serving_default",
                                    &signature, names, sizeof(names));
  if (error != NULL) Fail(kWrongUse, "%s: %s. Received: serving_default of {%s}", argv[1], error,
                          names);
  const SignatureTensor* text = FindTensor(signature.inputs, signature.num_inputs, "text");
  const SignatureTensor* pair = FindTensor(signature.inputs, signature.num_inputs, "text_pair");
  if (text == NULL || text->type != TF_STRING || signature.num_inputs != (pair ? 2 : 1)) {
    Fail(kWrongUse, "%s does not take text. Export it with kbl.export.saved_model.", argv[1]);
  }
  const bool has_choices = pair != NULL && pair->rank == 2;
  TF_Output inputs[2] = {FindOutput(graph, text)};
  if (pair != NULL) inputs[1] = FindOutput(graph, pair);
  TF_Output outputs[kMaxTensors];
  for (int i = 0; i < signature.num_outputs; ++i) {
    outputs[i] = FindOutput(graph, &signature.outputs[i]);
  }

  char* line = NULL;
  size_t capacity = 0;
  long number = 0;
  for (ssize_t size; (size = getline(&line, &capacity, file)) >= 0;) {
    ++number;
    while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r')) --size;
    Text* texts;
    const int count = Split((Text){line, (size_t)size}, &texts);
    const char* what = has_choices ? "choices, parted by tabs"
                       : pair      ? "a second text, parted by a tab"
                                   : "no second text: no tab";
    if (has_choices ? count < 2 : count != signature.num_inputs) {
      Fail(kWrongUse, "Line %ld: the model takes a text and %s. Received: %d second text(s)",
           number, what, count - 1);
    }
    TF_Tensor* given[2] = {MakeStrings(texts, 1, 1), NULL};
    if (pair != NULL) given[1] = MakeStrings(texts + 1, count - 1, pair->rank);
    TF_Tensor* answers[kMaxTensors] = {NULL};
    TF_SessionRun(session, NULL, inputs, given, signature.num_inputs, outputs, answers,
                  signature.num_outputs, NULL, 0, NULL, status);
    if (TF_GetCode(status) != TF_OK) {
      Fail(kCannotAnswer, "Line %ld has no answer. Received: %s", number, FirstLine(status));
    }
    for (int i = 0; i < signature.num_outputs; ++i) {
      int64_t index = 0;
      printf(i == 0 ? "{" : ", ");
      PrintQuoted(signature.outputs[i].key, strlen(signature.outputs[i].key));
      printf(": ");
      PrintValues(answers[i], /*axis=*/1, &index);  // without the batch, which is of one
      TF_DeleteTensor(answers[i]);
    }
    printf("}\n");
    fflush(stdout);
    for (int i = 0; i < signature.num_inputs; ++i) FreeStrings(given[i]);
    free(texts);
  }
  free(line);
  if (ferror(file)) Fail(kCannotAnswer, "Reading stopped at line %ld: %s.", number,
                         strerror(errno));
  fclose(file);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteBuffer(meta_graph);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
