=== CoreEtlJob/sales/pods
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "sales",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "sales",
      "dcp/execution": "a1",
      "dcp/workload": "pods",
      "team": "sales"
    },
    "annotations": {
      "cost": "7"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "s3a://lake/code/main.py,s3a://lake/code/lib.zip",
    "files": "gs://lake/data.txt",
    "driverArgs": [
      "$(HOME)",
      "a b"
    ],
    "sparkConf": {
      "spark.archives": "s3a://lake/models.zip#models,s3a://lake/code/python.tar.gz#environment",
      "spark.dcp.configMap": "spark-conf",
      "spark.dcp.driver.disruptionBudget": "true",
      "spark.dcp.driver.memoryLimit": "3g",
      "spark.dcp.log4j2": "rootLogger.level = warn\nrootLogger.appenderRef.console.ref = console\nappender.console.type = Console\nappender.console.name = console\nappender.console.target = SYSTEM_ERR\nappender.console.layout.type = PatternLayout\nappender.console.layout.pattern = %d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n%ex\nlogger.l0.name = com.example\nlogger.l0.level = debug\nlogger.l1.name = org.apache.hadoop.hive.metastore.RetryingHMSHandler\nlogger.l1.level = fatal\nlogger.l2.name = org.apache.hadoop.hive.ql.exec.FunctionRegistry\nlogger.l2.level = error\nlogger.l3.name = org.apache.parquet\nlogger.l3.level = error\nlogger.l4.name = org.apache.spark.sql.connect.service.SparkConnectServer\nlogger.l4.level = info\nlogger.l5.name = org.apache.spark.util.Utils\nlogger.l5.level = info\nlogger.l6.name = org.sparkproject.jetty\nlogger.l6.level = warn\nlogger.l7.name = parquet\nlogger.l7.level = error\n",
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError -Ddriver=1",
      "spark.driver.memory": "2g",
      "spark.driver.memoryOverhead": "512m",
      "spark.dynamicAllocation.enabled": "true",
      "spark.dynamicAllocation.initialExecutors": "2",
      "spark.dynamicAllocation.maxExecutors": "8",
      "spark.dynamicAllocation.minExecutors": "1",
      "spark.dynamicAllocation.shuffleTracking.enabled": "true",
      "spark.executor.cores": "2",
      "spark.executor.extraJavaOptions": "-Dexecutor=1",
      "spark.executor.memory": "4g",
      "spark.executor.memoryOverhead": "1g",
      "spark.hadoop.fs.s3a.endpoint": "https://s3.example.com",
      "spark.hadoop.fs.s3a.secret.key": "${secret.lake/secret-key}",
      "spark.jars": "local:///opt/jars/gcs.jar",
      "spark.jars.excludes": "org.slf4j:slf4j-log4j12",
      "spark.jars.packages": "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0",
      "spark.jars.repositories": "https://maven.example.com",
      "spark.kubernetes.container.image": "registry.example.com/spark:4.1",
      "spark.kubernetes.container.image.pullPolicy": "IfNotPresent",
      "spark.kubernetes.container.image.pullSecrets": "registry",
      "spark.kubernetes.driver.annotation.app": "{{APP_ID}}",
      "spark.kubernetes.driver.container.image": "registry.example.com/driver:4.1",
      "spark.kubernetes.driver.limit.cores": "2",
      "spark.kubernetes.driver.request.cores": "500m",
      "spark.kubernetes.executor.annotation.note": "{{EXECUTOR_ID}}",
      "spark.kubernetes.executor.container.image": "registry.example.com/executor:4.1",
      "spark.kubernetes.executor.limit.cores": "4",
      "spark.kubernetes.executor.request.cores": "1",
      "spark.kubernetes.executor.volumes.persistentVolumeClaim.spark-local-dir-1.mount.path": "/scratch",
      "spark.kubernetes.executor.volumes.persistentVolumeClaim.spark-local-dir-1.options.claimName": "OnDemand",
      "spark.kubernetes.executor.volumes.persistentVolumeClaim.spark-local-dir-1.options.sizeLimit": "102400Mi",
      "spark.kubernetes.executor.volumes.persistentVolumeClaim.spark-local-dir-1.options.storageClass": "fast",
      "spark.kubernetes.hadoop.configMapName": "hadoop-conf",
      "spark.metrics.conf.*.sink.prometheusServlet.class": "org.apache.spark.metrics.sink.PrometheusServlet",
      "spark.metrics.namespace": "orders",
      "spark.pyspark.python": "./environment/bin/python",
      "spark.sql.catalog.shop.password": "${secret.shop-db/password}",
      "spark.ui.prometheus.enabled": "true"
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
      "instanceConfig": {
        "initExecutors": 2,
        "minExecutors": 1,
        "maxExecutors": 8
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "annotations": {
            "cost": "7",
            "prometheus.io/scrape": "true"
          },
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "sales",
            "dcp/execution": "a1",
            "dcp/workload": "pods",
            "role": "driver",
            "team": "sales"
          }
        },
        "spec": {
          "affinity": {
            "nodeAffinity": {
              "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                  {
                    "matchExpressions": [
                      {
                        "key": "pool",
                        "operator": "In",
                        "values": [
                          "on-demand"
                        ]
                      }
                    ]
                  }
                ]
              }
            }
          },
          "containers": [
            {
              "env": [
                {
                  "name": "IP",
                  "valueFrom": {
                    "fieldRef": {
                      "fieldPath": "status.podIP"
                    }
                  }
                },
                {
                  "name": "KEY",
                  "value": "${secret.lake/secret-key}"
                },
                {
                  "name": "LOGIN",
                  "value": "${secret.shop-db/user}:${secret.shop-db/password}"
                },
                {
                  "name": "MAP",
                  "valueFrom": {
                    "configMapKeyRef": {
                      "key": "level",
                      "name": "app"
                    }
                  }
                },
                {
                  "name": "PLAIN",
                  "value": "1"
                },
                {
                  "name": "SECRET",
                  "valueFrom": {
                    "secretKeyRef": {
                      "key": "password",
                      "name": "db"
                    }
                  }
                },
                {
                  "name": "GOOGLE_APPLICATION_CREDENTIALS",
                  "value": "/etc/gcp/key.json"
                },
                {
                  "name": "HADOOP_TOKEN_FILE_LOCATION",
                  "value": "/etc/hdfs/hadoop.token"
                }
              ],
              "envFrom": [
                {
                  "secretRef": {
                    "name": "all"
                  }
                },
                {
                  "configMapRef": {
                    "name": "more"
                  }
                }
              ],
              "name": "main",
              "resources": {
                "limits": {
                  "ephemeral-storage": "10240Mi",
                  "example.com/fpga": "1"
                },
                "requests": {
                  "ephemeral-storage": "10240Mi",
                  "example.com/fpga": "1"
                }
              },
              "securityContext": {
                "runAsNonRoot": true
              },
              "volumeMounts": [
                {
                  "mountPath": "/scratch",
                  "name": "spark-local-dir-1",
                  "readOnly": false
                },
                {
                  "mountPath": "/data",
                  "name": "data",
                  "readOnly": true
                },
                {
                  "mountPath": "/etc/gcp",
                  "name": "dcp-secret-0",
                  "readOnly": true
                },
                {
                  "mountPath": "/etc/hdfs",
                  "name": "dcp-secret-1",
                  "readOnly": true
                },
                {
                  "mountPath": "/etc/db",
                  "name": "dcp-secret-2",
                  "readOnly": true
                },
                {
                  "mountPath": "/etc/app",
                  "name": "dcp-config-0",
                  "readOnly": true
                }
              ]
            },
            {
              "image": "envoy:1",
              "name": "sidecar"
            }
          ],
          "hostAliases": [
            {
              "hostnames": [
                "db"
              ],
              "ip": "10.0.0.1"
            }
          ],
          "initContainers": [
            {
              "command": [
                "sh",
                "-c",
                "true"
              ],
              "image": "busybox:1",
              "name": "init"
            }
          ],
          "nodeSelector": {
            "pool": "on-demand"
          },
          "priorityClassName": "high",
          "securityContext": {
            "fsGroup": 185
          },
          "serviceAccountName": "etl",
          "tolerations": [
            {
              "effect": "NoSchedule",
              "key": "drivers",
              "operator": "Exists"
            }
          ],
          "volumes": [
            {
              "emptyDir": {
                "sizeLimit": "10Gi"
              },
              "name": "spark-local-dir-1"
            },
            {
              "name": "data",
              "persistentVolumeClaim": {
                "claimName": "data"
              }
            },
            {
              "name": "dcp-secret-0",
              "secret": {
                "secretName": "gcp"
              }
            },
            {
              "name": "dcp-secret-1",
              "secret": {
                "secretName": "hdfs"
              }
            },
            {
              "name": "dcp-secret-2",
              "secret": {
                "secretName": "db"
              }
            },
            {
              "configMap": {
                "name": "app"
              },
              "name": "dcp-config-0"
            }
          ]
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "annotations": {
            "cost": "7"
          },
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "sales",
            "dcp/execution": "a1",
            "dcp/workload": "pods",
            "role": "executor",
            "team": "sales"
          }
        },
        "spec": {
          "affinity": {
            "podAntiAffinity": {
              "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                  "podAffinityTerm": {
                    "labelSelector": {
                      "matchLabels": {
                        "role": "executor"
                      }
                    },
                    "topologyKey": "kubernetes.io/hostname"
                  },
                  "weight": 1
                }
              ]
            }
          },
          "containers": [
            {
              "env": [
                {
                  "name": "PLAIN",
                  "value": "2"
                },
                {
                  "name": "TOKEN",
                  "value": "${secret.shop-db/token}"
                },
                {
                  "name": "GOOGLE_APPLICATION_CREDENTIALS",
                  "value": "/etc/gcp/key.json"
                }
              ],
              "envFrom": [
                {
                  "configMapRef": {
                    "name": "more"
                  }
                }
              ],
              "name": "executor",
              "volumeMounts": [
                {
                  "mountPath": "/etc/gcp",
                  "name": "dcp-secret-0",
                  "readOnly": true
                }
              ]
            },
            {
              "image": "envoy:1",
              "name": "sidecar"
            }
          ],
          "nodeSelector": {
            "pool": "spot"
          },
          "priorityClassName": "low",
          "serviceAccountName": "spark",
          "tolerations": [
            {
              "effect": "NoExecute",
              "key": "spot",
              "operator": "Equal",
              "tolerationSeconds": 300,
              "value": "true"
            }
          ],
          "volumes": [
            {
              "name": "dcp-secret-0",
              "secret": {
                "secretName": "gcp"
              }
            }
          ]
        }
      }
    }
  }
}
