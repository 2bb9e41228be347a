=== CoreEtlJob/sales/customers
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "sales",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "sales",
      "dcp/execution": "a1",
      "dcp/workload": "customers"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "local:///opt/dcp/job/main.py",
    "driverArgs": [
      "/opt/dcp/job/job.json"
    ],
    "sparkConf": {
      "spark.dcp.modules": "sql-kafka-0-10",
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.eventLog.compress": "false",
      "spark.eventLog.rolling.enabled": "true",
      "spark.eventLog.rolling.maxFileSize": "16m",
      "spark.executor.cores": "1",
      "spark.executor.instances": "1",
      "spark.executor.memory": "1g",
      "spark.kubernetes.container.image": "spark-platform:4.1-latest",
      "spark.sql.streaming.metricsEnabled": "true"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 900000,
        "forceTerminationGracePeriodMillis": 120000
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "sales",
            "dcp/execution": "a1",
            "dcp/workload": "customers"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark",
              "volumeMounts": [
                {
                  "mountPath": "/opt/dcp/job",
                  "name": "dcp-job",
                  "readOnly": true
                }
              ]
            }
          ],
          "volumes": [
            {
              "configMap": {
                "name": "dcp-a1-1-job"
              },
              "name": "dcp-job"
            }
          ]
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "sales",
            "dcp/execution": "a1",
            "dcp/workload": "customers"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    },
    "configMapSpecs": [
      {
        "name": "dcp-a1-1-job",
        "data": {
          "job.json": "{\"checkpoint\":\"s3://lake/c/customers\",\"name\":\"customers\",\"stream\":{\"outputMode\":\"append\",\"query\":\"SELECT id, name, gone, at FROM changes\",\"sink\":{\"merge\":{\"delete\":\"gone\",\"keys\":[\"id\"],\"orderBy\":\"at\",\"table\":\"lake.mart.customers\"}},\"sources\":{\"changes\":{\"kafka\":{\"failOnDataLoss\":true,\"format\":\"json\",\"schema\":[{\"name\":\"id\",\"type\":\"long\"},{\"name\":\"name\",\"type\":\"string\"},{\"name\":\"gone\",\"type\":\"boolean\"},{\"name\":\"at\",\"type\":\"timestamp\"}],\"servers\":\"k:9092\",\"startingOffsets\":\"earliest\",\"static\":false,\"topic\":\"changes\"}}}},\"trigger\":{\"asap\":{}}}"
        }
      }
    ]
  }
}
=== CoreEtlJob/sales/stock
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "sales",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "sales",
      "dcp/execution": "a1",
      "dcp/workload": "stock"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "local:///opt/dcp/job/main.py",
    "driverArgs": [
      "/opt/dcp/job/job.json"
    ],
    "sparkConf": {
      "spark.dcp.modules": "sql-kafka-0-10",
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.eventLog.compress": "false",
      "spark.eventLog.rolling.enabled": "true",
      "spark.eventLog.rolling.maxFileSize": "16m",
      "spark.executor.cores": "1",
      "spark.executor.instances": "1",
      "spark.executor.memory": "1g",
      "spark.jars.packages": "org.postgresql:postgresql:42.7.8",
      "spark.kubernetes.container.image": "spark-platform:4.1-latest",
      "spark.sql.streaming.metricsEnabled": "true"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 900000,
        "forceTerminationGracePeriodMillis": 120000
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "sales",
            "dcp/execution": "a1",
            "dcp/workload": "stock"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark",
              "volumeMounts": [
                {
                  "mountPath": "/opt/dcp/job",
                  "name": "dcp-job",
                  "readOnly": true
                }
              ]
            }
          ],
          "volumes": [
            {
              "configMap": {
                "name": "dcp-a1-1-job"
              },
              "name": "dcp-job"
            }
          ]
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "sales",
            "dcp/execution": "a1",
            "dcp/workload": "stock"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    },
    "configMapSpecs": [
      {
        "name": "dcp-a1-1-job",
        "data": {
          "job.json": "{\"checkpoint\":\"s3://lake/c/stock\",\"name\":\"stock\",\"stream\":{\"outputMode\":\"append\",\"query\":\"SELECT sku, n, at FROM moves\",\"sink\":{\"jdbc\":{\"keys\":[\"sku\"],\"mode\":\"upsert\",\"options\":{\"batchsize\":\"500\"},\"orderBy\":\"at\",\"password\":\"${secret.db/password}\",\"table\":\"public.stock\",\"url\":\"jdbc:postgresql://db:5432/shop\",\"user\":\"${secret.db/user}\"}},\"sources\":{\"moves\":{\"kafka\":{\"failOnDataLoss\":true,\"format\":\"json\",\"schema\":[{\"name\":\"sku\",\"type\":\"string\"},{\"name\":\"n\",\"type\":\"int\"},{\"name\":\"at\",\"type\":\"timestamp\"}],\"servers\":\"k:9092\",\"startingOffsets\":\"earliest\",\"static\":false,\"topic\":\"moves\"}}}},\"trigger\":{\"asap\":{}}}"
        }
      }
    ]
  }
}
