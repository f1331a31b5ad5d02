"use strict";
// Swagger UI over our document. What is tried out goes by the reader's session, where there is no token.
const place = document.getElementById("interface");
const token = document.querySelector('meta[name="csrf-token"]').content;
SwaggerUIBundle({
  url: place.dataset.document,
  domNode: place,
  deepLinking: true,
  validatorUrl: null,
  requestInterceptor: (request) => {
    if (!request.loadSpec && !request.headers.Authorization) request.headers["X-CSRFToken"] = token;
    return request;
  },
});
