#include "signature.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const uint8_t* at;
  const uint8_t* end;
} Bytes;

typedef struct {
  uint32_t number;
  uint64_t value;  // of a number
  Bytes content;   // of a string or a message
} Field;

static bool ReadNumber(Bytes* bytes, uint64_t* number) {
  *number = 0;
  for (int shift = 0; shift < 64 && bytes->at < bytes->end; shift += 7) {
    const uint8_t byte = *bytes->at++;
    *number |= (uint64_t)(byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

// Reads the next field of a message. Returns false at its end, and where it is broken off.
static bool NextField(Bytes* message, Field* field) {
  uint64_t tag, size = 0;
  if (!ReadNumber(message, &tag)) return false;
  *field = (Field){.number = (uint32_t)(tag >> 3)};
  switch (tag & 7) {
    case 0:
      return ReadNumber(message, &field->value);
    case 1:
      size = 8;
      break;
    case 2:
      if (!ReadNumber(message, &size)) return false;
      break;
    case 5:
      size = 4;
      break;
    default:
      return false;
  }
  if (size > (uint64_t)(message->end - message->at)) return false;
  field->content = (Bytes){message->at, message->at + size};
  message->at += size;
  return true;
}

static bool CopyText(Bytes bytes, char* text) {
  const size_t size = (size_t)(bytes.end - bytes.at);
  if (size >= kMaxName) return false;
  memcpy(text, bytes.at, size);
  text[size] = '\0';
  return true;
}

// An entry of a map: its key is field 1, its value field 2.
static bool ReadEntry(Bytes entry, char* key, Bytes* value) {
  key[0] = '\0';
  *value = (Bytes){NULL, NULL};
  for (Field field; NextField(&entry, &field);) {
    if (field.number == 1 && !CopyText(field.content, key)) return false;
    if (field.number == 2) *value = field.content;
  }
  return true;
}

// TensorInfo: 1 is the name, 2 the type, 3 the shape, whose dimensions are 2 and whose 3 says that
// the rank is not known.
static bool ReadTensor(Bytes entry, SignatureTensor* tensor) {
  Bytes info;
  memset(tensor, 0, sizeof(*tensor));
  tensor->rank = -1;
  if (!ReadEntry(entry, tensor->key, &info)) return false;
  for (Field field; NextField(&info, &field);) {
    if (field.number == 1 && !CopyText(field.content, tensor->operation)) return false;
    if (field.number == 2) tensor->type = (int)field.value;
    if (field.number == 3) {
      tensor->rank = 0;
      for (Field part; NextField(&field.content, &part);) {
        if (part.number == 2 && tensor->rank >= 0) ++tensor->rank;
        if (part.number == 3 && part.value) tensor->rank = -1;
      }
    }
  }
  char* colon = strrchr(tensor->operation, ':');
  if (colon == NULL) return false;
  tensor->index = atoi(colon + 1);
  *colon = '\0';
  return true;
}

static int CompareKeys(const void* one, const void* other) {
  return strcmp(((const SignatureTensor*)one)->key, ((const SignatureTensor*)other)->key);
}

const char* ReadSignature(const void* meta_graph, size_t size, const char* name,
                          Signature* signature, char* names, size_t names_size) {
  Bytes message = {meta_graph, (const uint8_t*)meta_graph + size};
  Bytes found = {NULL, NULL}, value;
  names[0] = '\0';
  for (Field field; NextField(&message, &field);) {
    char key[kMaxName];
    if (field.number != 5 || !ReadEntry(field.content, key, &value)) continue;
    if (strcmp(key, name) == 0) found = value;
    if (strncmp(key, "__", 2) == 0) continue;  // what TensorFlow needs for itself
    const size_t used = strlen(names);
    snprintf(names + used, names_size - used, "%s%s", used ? ", " : "", key);
  }
  if (message.at != message.end) return "The model's description breaks off";
  if (found.at == NULL) return "The model has no such signature";

  // SignatureDef: 1 are the inputs, 2 the outputs.
  signature->num_inputs = signature->num_outputs = 0;
  for (Field field; NextField(&found, &field);) {
    const bool is_input = field.number == 1;
    if (!is_input && field.number != 2) continue;
    SignatureTensor* tensors = is_input ? signature->inputs : signature->outputs;
    int* count = is_input ? &signature->num_inputs : &signature->num_outputs;
    if (*count == kMaxTensors) return "The signature has too many inputs or outputs";
    if (!ReadTensor(field.content, &tensors[(*count)++])) {
      return "The signature has tensors of a kind that this program does not know";
    }
  }
  qsort(signature->outputs, (size_t)signature->num_outputs, sizeof(SignatureTensor), CompareKeys);
  return NULL;
}

const SignatureTensor* FindTensor(const SignatureTensor* tensors, int count, const char* key) {
  for (int i = 0; i < count; ++i) {
    if (strcmp(tensors[i].key, key) == 0) return &tensors[i];
  }
  return NULL;
}
